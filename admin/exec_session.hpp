// ExecSession: the node's side of rooster-exec/1, between a client's connection and a command's
// pipes or terminal.
//
// The main coroutine reads the client's frames and waits for the end; a pump each carries output
// and errors. A client that is lost takes its command with it: SIGHUP, ten seconds, SIGKILL.
#pragma once

#include "admin/exec_host.hpp"
#include "admin/pipe_end.hpp"
#include "core/loop.hpp"
#include "core/stream.hpp"
#include "net/exec_frames.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace rooster::admin {

struct ExecTimes {
  std::chrono::milliseconds client_silence{60'000};  ///< clients ping each 15 s
  std::chrono::milliseconds hangup{10'000};          ///< from SIGHUP to SIGKILL
  std::chrono::milliseconds last_output{500};  ///< what is left behind may hold the pipes open
};

/// What came of it.
struct ExecEnd {
  std::optional<std::uint32_t> status{};  ///< nullopt: it had to be left behind
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  bool client_left = false;
};

class ExecSession {
 public:
  ExecSession(Stream& client, ExecProcess& process, bool has_terminal, Waiter& waiter,
              ExecTimes times = {});

  /// Runs to the end. `input` was read of the client already.
  Task<ExecEnd> run(std::string input);

 private:
  Task<> pump(PipeEnd& from, net::ExecKind kind, bool& ended);
  bool read_client();
  void take(const net::ExecFrame& frame);
  void end_input();
  void lose_client();
  bool is_drained() const { return output_ended_ && errors_ended_; }
  TimePoint deadline() const;
  Task<> end_pumps();

  Loop& loop_;
  Stream& client_;
  ExecProcess& process_;
  bool has_terminal_;
  Waiter& waiter_;
  ExecTimes times_;
  TaskGroup pumps_;
  std::unique_ptr<PipeEnd> input_;
  std::unique_ptr<PipeEnd> output_;
  std::unique_ptr<PipeEnd> errors_;
  net::ExecFrameReader reader_;
  ExecEnd end_;
  bool input_is_ending_ = false;
  bool output_ended_ = false;
  bool errors_ended_ = false;
  bool was_killed_ = false;
  TimePoint heard_at_;
  TimePoint last_output_at_;
  TimePoint ended_at_ = kNever;
  TimePoint hung_up_at_ = kNever;
};

}  // namespace rooster::admin
