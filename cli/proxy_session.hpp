// ProxySession: `rooster proxy` as it runs. The flow: bind all -> open the way -> wake the targets,
// which also tells whether they exist -> print the mappings -> accept; each connection makes a call
// of its own (cli/api_call) and is spliced; a signal, the program beside it or the end of standard
// input ends it all.
#pragma once

#include "cli/api_call.hpp"
#include "cli/local_ports.hpp"
#include "cli/proxy_voice.hpp"
#include "cli/signals.hpp"
#include "cli/start_watch.hpp"
#include "cli/way.hpp"
#include "core/loop.hpp"
#include "net/splice.hpp"

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace rooster::cli {

struct ProxyOptions {
  std::vector<ProxyMapping> mappings;
  std::string bind_address;  ///< "": localhost, both families
  bool watch_input = false;
  std::vector<std::string> command;  ///< runs beside it; its end is the end
  ProxyVoice::Manner manner;
};

class ProxySession {
 public:
  static constexpr std::size_t kMostConnections = 4096;
  /// Opened at the same time; the others wait for their turn, so that a burst stays within what the
  /// node gives one peer.
  static constexpr std::size_t kMostOpening = 32;
  /// One for all connections: what one read may take.
  static constexpr std::size_t kBufferBytes = 256 * 1024;

  ProxySession(Loop& loop, Way& way, ProxyOptions options, const Console& console);
  ~ProxySession();
  ProxySession(const ProxySession&) = delete;
  ProxySession& operator=(const ProxySession&) = delete;

  /// Runs the loop to the end; the exit status. Once.
  int run();
  /// As Ctrl-C: ends when the connections have ended, or soon; a second time at once.
  void stop();
  ProxyVoice& voice() { return voice_; }
  std::size_t connections() const { return open_; }

 private:
  // What the node says of a target before anybody connects.
  struct FirstAnswer {
    bool is_known = false;
    std::string refusal{};  // "": it exists
  };
  Task<> main();
  Task<int> begin_and_wait(Waiter& waiter);
  Task<bool> find_targets(Waiter& waiter);
  /// A connection whose bytes are passed on.
  struct Carried {
    Waiter& waiter;
    WallTime since;
  };
  Task<> watch_start();
  Task<> look_for_restart();
  Task<> tell_end(const net::ConnectTarget& remote, const net::Spliced& end, WallTime since,
                  Waiter& waiter);
  Task<> find_target(net::ConnectTarget target, FirstAnswer& answer);
  Task<> accept_loop(const BoundMapping& bound, Pollable& listener);
  Task<> serve(Descriptor descriptor, net::ConnectTarget remote);
  /// A place among those that open a connection now; false: interrupted.
  Task<bool> take_turn(Waiter& waiter);
  void give_turn();
  Task<ConnectOutcome> open_remote(Stream& local, const net::ConnectTarget& remote, Waiter& waiter);
  Task<> carry(Stream& local, const net::ConnectTarget& remote, Waiter& waiter);
  Task<> end_connections(Waiter& waiter);
  bool start_command();
  void take_signal(int number, bool from_terminal);
  void tick();
  void notify_main();

  Loop& loop_;
  Way& way_;
  ProxyOptions options_;
  ProxyVoice voice_;
  TaskGroup main_group_;
  TaskGroup acceptors_;
  TaskGroup connections_;
  Waiter* main_waiter_ = nullptr;
  std::vector<BoundMapping> bound_;
  std::vector<std::unique_ptr<Pollable>> listeners_;
  std::unique_ptr<char[]> buffer_;
  Timer ticker_;
  SleepWatch sleep_watch_;
  StartWatch start_watch_;
  std::set<Carried*> carried_;
  std::size_t opening_ = 0;
  std::deque<Waiter*> queue_;           // for a turn
  std::optional<WallTime> renewed_at_;  // as looked at last
  std::optional<Signals> signals_;
  std::unique_ptr<ChildProgram> child_;
  std::unique_ptr<InputEnd> input_end_;
  std::shared_ptr<int> life_ = std::make_shared<int>();
  std::vector<std::unique_ptr<FirstAnswer>> answers_;
  std::size_t open_ = 0;
  int stops_ = 0;                 // 1: end soon; more: at once
  bool child_was_asked_ = false;  // a Ctrl-C that was the program's
  std::optional<int> child_status_;
  int status_ = 0;
};

}  // namespace rooster::cli
