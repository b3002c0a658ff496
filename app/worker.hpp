// Worker: one thread of the data path, with its own loop, listeners, routes, gate, pool and
// counters. Other threads reach it only by the posts below: facts, slot_free, and the snapshots it
// adopts.
#pragma once

#include "core/loop.hpp"
#include "core/metrics.hpp"
#include "machines/app_view.hpp"
#include "machines/wake_gate.hpp"
#include "proxy/access_log.hpp"
#include "proxy/listener.hpp"
#include "proxy/private_listener.hpp"
#include "proxy/socket_stock.hpp"
#include "proxy/worker_context.hpp"
#include "tls/server_context.hpp"

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace rooster::app {

/// A listening socket handed to a worker.
struct ListenSocket {
  Descriptor fd;
  proxy::Listener::Options options;
};

/// A worker's part of the private network.
struct PrivateSide {
  /// Transparent: getsockname() is where the connection was sent.
  std::vector<Descriptor> listeners;
  /// Asks for sockets in a machine's namespace or the hub; deliver() brings them.
  std::function<void(proxy::SocketOrder)> order;
  /// A request to the private API that is no CONNECT.
  std::function<void(Descriptor, std::string input, proxy::PrivateSource)> hand_over;
};

class Worker {
 public:
  struct Shared {
    WorkerId id;
    std::size_t workers = 1;
    Metrics& metrics;
    proxy::AccessRing& ring;
    machines::WaitingLimits& waiting;
    proxy::ConnectionBudget& budget;
    machines::GateSignals signals;
    std::string domain;
    std::shared_ptr<const proxy::EdgeSettings> settings;
    std::shared_ptr<const tls::CertificateStore> certificates;
    std::shared_ptr<const tls::TicketKeys> tickets;
    std::size_t max_idle_upstream = 1024;
    std::optional<PrivateSide> private_side{};
    proxy::GatewayDoor gateway_door{};  ///< connections to rooster.<domain>
  };

  explicit Worker(Shared shared);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// Starts the thread; `sockets` are accepted from once open(). Errors: Internal, where TLS can't
  /// be set up.
  Result<> start(std::vector<ListenSocket> sockets);

  // Any thread.

  /// Accepts from now on: until its apps are known a request would be refused as nobody's.
  void open();
  /// Facts, in order. `epoch` is published by adopted_epoch() once they hold here.
  void adopt(std::shared_ptr<const std::vector<machines::AppViewPtr>> facts, std::uint64_t epoch);
  void slot_free(AppId app);
  void adopt(std::shared_ptr<const tls::CertificateStore> certificates);
  void adopt(std::shared_ptr<const tls::TicketKeys> tickets);
  void adopt(std::shared_ptr<const proxy::EdgeSettings> settings, std::string domain);
  void adopt(proxy::PeerFactPtr peer);
  /// The peer has been silent for too long: its connections are reset.
  void cut_peer(IpAddress address);
  /// What an order of the private side's gave.
  void deliver(std::uint64_t order, std::vector<Descriptor> sockets);
  /// A connection that a stack of our own accepted in the private network.
  void serve(proxy::PrivateAccepted accepted);
  /// An operator's CONNECT, by the admin socket; `input` is read of it already.
  void serve_operator(Descriptor fd, std::string input);
  std::uint64_t adopted_epoch() const { return adopted_epoch_.load(std::memory_order_acquire); }
  /// No further connection or request; waiters are refused; `drained` is called on this thread when
  /// all is over.
  void drain(std::function<void()> drained);
  /// A machine is on its way down: its tunnels are told to leave.
  void leave(std::shared_ptr<machines::MachineLoad> load);
  /// Tunnels are told to leave: a WebSocket gets Close 1001 and five seconds.
  void go_away();
  /// Everything that is left ends now.
  void cut();
  /// Ends the thread. After drained, or cut.
  void stop();
  /// Waits for its end.
  void join();

 private:
  void adopt_one(const machines::AppViewPtr& fact);
  void drop_idle(const machines::AppView& before, const machines::AppView& now);
  template <class Which>
  void leave_tunnels(Fault why, Which which);
  Task<> sweep_pool();
  std::shared_ptr<const tls::TlsProfile> profile_of(std::string_view sni) const;
  void prewake(std::string_view sni, int fd);

  Loop loop_;
  TaskGroup sessions_;
  TaskGroup listening_;
  proxy::Router router_;
  machines::WakeGate gate_;
  proxy::UpstreamPool pool_;
  proxy::RequestIdSource request_ids_;
  proxy::SourceLimit sources_;
  std::unique_ptr<tls::ServerContext> tls_;
  std::unique_ptr<proxy::WorkerContext> context_;
  std::vector<std::unique_ptr<proxy::Listener>> listeners_;
  std::unique_ptr<proxy::SocketStock> sockets_;
  std::unique_ptr<proxy::PrivateListener> private_listener_;
  Shared shared_;
  std::atomic<std::uint64_t> adopted_epoch_{0};
  std::unique_ptr<Waiter> sweeper_;
  std::thread thread_;
};

}  // namespace rooster::app
