// What the data path's tests share: one worker's context with an app of one machine, whose origin
// and clients are sockets in the test's hands. Everything runs on the test's thread, turn by turn.
#pragma once

#include "core/loop.hpp"
#include "machines/app_view.hpp"
#include "machines/wake_gate.hpp"
#include "proxy/h1_session.hpp"
#include "proxy/worker_context.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::proxy::testing {

/// Two connected, non-blocking TCP sockets on loopback.
struct TcpPair {
  explicit TcpPair(int send_buffer = 0);
  Descriptor ours;
  Descriptor theirs;
};

/// The next read gives a reset instead of an end: SO_LINGER 0, then close.
void reset_connection(Descriptor& fd);

/// One end of a connection in the test's hands. Everything waits by turning the loop, at most five
/// seconds.
class Peer {
 public:
  enum class End : std::uint8_t { Open, Fin, Reset };

  Peer(Loop& loop, Descriptor fd) : loop_(&loop), fd_(std::move(fd)) {}
  Peer(Peer&&) = default;

  bool send(std::string_view bytes);
  /// As much as goes without turning the loop.
  std::size_t send_some(std::string_view bytes);
  /// Waits for `bytes` (or the end) and takes them.
  std::string read(std::size_t bytes);
  /// Waits for `mark` (or the end) and takes everything up to and with it.
  std::string read_until(std::string_view mark);
  std::string read_head() { return read_until("\r\n\r\n"); }
  /// Everything up to the end, which must come.
  std::string read_to_end();
  /// What is here by now, without waiting.
  std::string read_some();
  /// Waits for the end of the other side.
  End wait_for_end();
  End end() const { return end_; }
  void finish();  ///< FIN
  void reset() { reset_connection(fd_); }
  void close() { fd_.reset(); }
  Loop& loop() { return *loop_; }
  int fd() const { return fd_.get(); }

 private:
  bool fill();
  std::string take(std::size_t bytes);

  Loop* loop_;
  Descriptor fd_;
  std::string received_;
  End end_ = End::Open;
};

/// Turns the loop until `done`, at most five seconds.
bool turn_until(Loop& loop, const std::function<bool()>& done);

/// A listening socket and whoever connects to it.
class Origin {
 public:
  explicit Origin(Loop& loop, int backlog = 64);
  std::uint16_t port() const { return port_; }
  /// The next connection; it must come.
  Peer accept();
  bool has_connection();
  /// Nobody listens any more.
  void close() { fd_.reset(); }

 private:
  Loop& loop_;
  std::uint16_t port_ = 0;
  Descriptor fd_;
};

class Edge {
 public:
  explicit Edge(std::size_t max_clients = 100);
  ~Edge();
  Edge(const Edge&) = delete;
  Edge& operator=(const Edge&) = delete;

  /// A client's connection with a session at its other end.
  Peer connect(int send_buffer = 0);
  /// Has `app` and the machines of `view` known to router, gate and context.
  void adopt();
  /// The one machine's load.
  machines::MachineLoad& load() { return *view_.machines.front().load; }
  /// Adds another machine of the app at this port.
  void add_machine(std::uint16_t port);
  AppCounters& counters() { return metrics_.worker(WorkerId{0}).apps.of(AppId{0}, 1); }
  WorkerMetrics& metrics() { return metrics_.worker(WorkerId{0}); }
  /// The access log's records so far: "<status> <fault>" each.
  std::vector<std::string> log();
  /// Nothing of what is counted is in use any more.
  void expect_all_given_back();

  Loop loop;
  TaskGroup sessions{loop};
  Router router{"app.dev"};
  std::vector<machines::WakeCommand> wakes;
  machines::WaitingLimits waiting{100};
  machines::WakeGate gate{
      WorkerId{0},
      waiting,
      {.wake = [this](machines::WakeCommand command) { wakes.push_back(std::move(command)); },
       .slot_free = [](WorkerId, AppId) {}}};
  UpstreamPool pool{64, 32};
  ConnectionBudget budget;

 private:
  Metrics metrics_{1};
  AccessRing ring_{metrics_.worker(WorkerId{0}).access_log_dropped};
  RequestIdSource ids_{"gru"};

 public:
  WorkerContext context;
  Origin origin{loop};
  config::AppConfig app;  ///< change it, then adopt()
  machines::AppView view_;
};

}  // namespace rooster::proxy::testing
