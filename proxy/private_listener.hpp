// PrivateListener: every connection of the private networks on one worker. It accepts on a
// transparent listener (or is given connections by a stack), asks the table where each leads, and
// starts what serves it: a TCP session, an HTTP session, the private API, or the way out.
#pragma once

#include "core/address.hpp"
#include "core/loop.hpp"
#include "core/stream.hpp"
#include "proxy/client_address.hpp"
#include "proxy/private_call.hpp"
#include "proxy/private_table.hpp"

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rooster::proxy {

struct WorkerContext;

/// A connection that somebody accepted. `local` is where it was sent to.
struct PrivateAccepted {
  Descriptor fd;  ///< non-blocking
  Endpoint local;
  Endpoint remote;
  ResetFlag reset{};  ///< of a stack without RST
};

class PrivateListener {
 public:
  struct Options {
    /// Connections of one network, on all workers; 0: its share of all clients.
    std::size_t max_per_network = 0;
    /// Where machines may not go, beside loopback, link-local, fdaa::/16 and the node's own
    /// addresses.
    CidrList egress_denied{};
    HandOver hand_over{};
    /// A TCP connection to the name server, where the hub's own listener did not take it.
    std::function<void(Descriptor, PrivateSource)> serve_dns{};
  };

  /// `listeners`: transparent, non-blocking; none where connections come by serve() alone.
  PrivateListener(WorkerContext& context, std::vector<Descriptor> listeners, Options options);

  /// Accepts in `group` until stop(). Once.
  void start(TaskGroup& group);
  void stop();

  /// Serves one connection to its end, in WorkerContext::sessions.
  void serve(PrivateAccepted accepted);
  /// Serves an operator's call (net/connect_call.hpp), of which `input` is read already: the admin
  /// socket's way into every network.
  void serve_operator(Descriptor fd, std::string input);

  // Facts.
  void adopt(const machines::AppViewPtr& view) { table_.adopt(view); }
  /// A removed peer's connections are reset.
  void adopt(const PeerFactPtr& fact);
  /// The peer has been silent for too long: its connections are reset, its leases dropped.
  void cut_peer(const IpAddress& address);

  const PrivateTable& table() const { return table_; }
  std::size_t connections() const { return connections_; }

 private:
  /// What one connection holds while it lives.
  class Place;
  /// One of the listeners.
  struct Door {
    Door(Loop& loop, TaskGroup& group, Descriptor fd)
        : pollable(loop, std::move(fd), Pollable::kReadable | Pollable::kWritable), waiter(group) {}
    Pollable pollable;
    Waiter waiter;
  };

  Task<> accept_loop(Door& door);

  void admit(PrivateAccepted accepted, const PrivateSource& source, const PrivateTarget& target);
  bool enter(const PrivateSource& source);
  Task<> run_http(std::unique_ptr<Place> place, PrivateAccepted accepted, PrivateTarget target,
                  bool tls);
  Task<> run_tcp(std::unique_ptr<Place> place, PrivateAccepted accepted, PrivateTarget target,
                 bool tls);
  Task<> run_api(std::unique_ptr<Place> place, PrivateAccepted accepted, std::string input);
  Task<> run_egress(std::unique_ptr<Place> place, PrivateAccepted accepted);

  WorkerContext& context_;
  Options options_;
  PrivateTable table_;
  std::vector<Descriptor> listeners_;  // until start()
  std::vector<std::unique_ptr<Door>> doors_;
  Link places_;  // every Place
  std::size_t connections_ = 0;
  bool stopped_ = false;
};

}  // namespace rooster::proxy
