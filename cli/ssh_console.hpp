// `rooster ssh console`: a command or a shell inside a machine. The flow: find the machine -> POST
// exec, which wakes it -> 101 -> frames (net/exec_frames) until the exit status.
#pragma once

#include "cli/choose_machine.hpp"
#include "cli/developer_way.hpp"
#include "cli/run_cli.hpp"
#include "core/stream.hpp"
#include "net/exec_frames.hpp"
#include "net/http_message.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::cli {

/// What of the command's own exit status is ours: the connection failed, or was refused.
inline constexpr int kConsoleFailed = 255;

struct ConsoleCommand {
  MachineWish wish;
  std::string command;  ///< -C; "": a shell
  std::string user;     ///< -u
  bool select = false;
  bool wants_pty = false;
  bool start = false;  ///< also an app that only an operator starts
};

/// The call. `argv` empty: a shell.
struct ExecCall {
  std::string app;
  std::string machine;
  std::vector<std::string> argv;
  std::string user;
  bool pty = false;
  bool start = false;
  std::string terminal;  ///< $TERM, for a pty
  std::optional<net::ExecSize> size;
};
net::HttpRequest exec_request(const ExecCall& call);

/// One command's connection, after the 101: bytes and frames both ways.
class ConsoleSession {
 public:
  struct Ends {
    Stream& node;
    Stream& input;
    Stream& output;
    Stream& errors;
  };
  ConsoleSession(Ends ends, Waiter& waiter) : ends_(ends), waiter_(waiter) {}

  /// Runs to the end; the exit status. `first` came with the 101. Errors: the sentence of the
  /// node's Error frame, or that the connection was lost.
  Task<int> run(std::string first);
  /// From the loop's thread at any time.
  void send_signal(std::uint8_t number) { put(net::encode_exec_signal(number)); }
  void send_size(net::ExecSize size) { put(net::encode_exec_resize(size.rows, size.columns)); }
  /// A line of the node's before the command's first byte.
  void set_on_notice(std::function<void(std::string_view)> notice) { notice_ = std::move(notice); }

 private:
  void put(std::string_view frame);
  bool read_node();
  bool read_input();
  bool take(const net::ExecFrame& frame);
  Task<> wait();
  std::string lost_text() const;

  Ends ends_;
  Waiter& waiter_;
  net::ExecFrameReader reader_;
  std::function<void(std::string_view)> notice_;
  std::optional<int> status_;
  std::string error_;
  bool input_ended_ = false;
  bool node_ended_ = false;
  TimePoint next_ping_ = kNever;
  TimePoint heard_at_ = kNever;
};

int run_console(const DeveloperOptions& options, const ConsoleCommand& command,
                const Console& console);

}  // namespace rooster::cli
