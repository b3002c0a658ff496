// PrivateNetwork: control's half of the private network. It keeps the registry, hands out
// addresses, and tells each change of apps and peers to whom it concerns: the hub's rules, the
// gateway's device and names, the workers' tables.
#pragma once

#include "app/gateway.hpp"
#include "app/worker.hpp"
#include "cluster/archive.hpp"
#include "cluster/embedded_registry.hpp"
#include "config/config_set.hpp"
#include "core/log.hpp"
#include "core/loop.hpp"
#include "keeper/client.hpp"
#include "machines/coordinator.hpp"
#include "proxy/private_table.hpp"
#include "proxy/socket_stock.hpp"

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace rooster::app {

class PrivateNetwork {
 public:
  struct Parts {
    Loop& loop;  ///< control's
    Loop& background;
    Log& log;
    keeper::Client& keeper;
    std::vector<std::unique_ptr<Worker>>& workers;
    std::size_t worker_count = 1;
    std::shared_ptr<const config::ConfigSet> config;
    keeper::Welcome welcome;
    /// A peer is gone: what its calls to the private API do ends, commands among it.
    std::function<void(const IpAddress&)> end_calls;
    std::function<void(const GatewayCounts&)> counted;  ///< as Gateway's
  };

  /// At the start, before workers: opens the registry and asks the keeper for the hub. Blocks.
  /// Errors: Internal, with the mend.
  static Result<std::unique_ptr<PrivateNetwork>> open(Parts parts);
  explicit PrivateNetwork(Parts parts, cluster::Archive archive);
  ~PrivateNetwork();
  PrivateNetwork(const PrivateNetwork&) = delete;
  PrivateNetwork& operator=(const PrivateNetwork&) = delete;

  /// Once the workers are there: the gateway's thread, and what the registry knows already.
  Result<> start();
  /// Ends the thread; what is left to keep goes to `background`.
  void stop();

  machines::PrivatePlaces places();
  /// One for each worker; taken once.
  std::vector<Descriptor> take_listeners() { return std::move(listeners_); }

  /// Facts, as the workers get them.
  void adopt(const std::vector<machines::AppViewPtr>& views);
  void adopt(std::shared_ptr<const config::ConfigSet> config);
  /// Calls `done` once the hub has taken, or refused, all that it was told so far.
  void when_routed(std::move_only_function<void()> done);
  /// Sockets for a worker, in a machine's namespace or the hub.
  void order(WorkerId worker, proxy::SocketOrder order);

  cluster::EmbeddedRegistry& registry() { return registry_; }
  /// On the background thread.
  cluster::Archive& archive() { return archive_; }
  Gateway& gateway() { return *gateway_; }
  const cluster::Key& private_key() const { return private_key_; }

 private:
  /// What of an app is caught.
  struct Caught {
    NetworkId network{};
    std::string name;
    std::set<Endpoint> ports;
    std::set<IpAddress> addresses;
  };
  Result<> open_hub();
  Result<> without_device(const std::string& why);
  void spread(tunnel::Dialled connection);
  void keep(cluster::Rows rows);
  void write(cluster::Rows rows);
  void each_minute();
  void on_change(const cluster::Change& change);
  void put_peer(const cluster::PeerPtr& peer);
  void tell_workers(const proxy::PeerFactPtr& fact);
  void remember(const Gateway::Memories& memories);
  void cut_silent(const std::vector<cluster::Key>& peers);
  Caught caught_by(const machines::AppView& view) const;
  void catch_difference(const Caught& before, const Caught& now);
  keeper::Catch& pending();
  void catch_all();
  void on_answered();
  void flush();
  dns::AppRecord record_of(const machines::AppView& view) const;

  Parts parts_;
  cluster::Archive archive_;  // the background thread's once it runs
  cluster::Rows unkept_;      // the background thread's: what the disk did not take
  cluster::EmbeddedRegistry registry_;
  cluster::Key private_key_{};
  std::unique_ptr<Gateway> gateway_;
  keeper::HubReady hub_;
  std::vector<Descriptor> listeners_;
  bool has_hub_ = false;
  bool has_namespaces_ = false;
  std::size_t next_worker_ = 0;  // the tunnel thread's
  std::string no_namespaces_;    // why not
  std::unordered_map<AppId, Caught> caught_;
  std::deque<keeper::Catch> catches_;  // not yet sent
  std::map<cluster::Key, std::shared_ptr<proxy::PeerLoad>> loads_;
  std::unique_ptr<Timer> minute_;
  std::unique_ptr<Timer> catch_again_;
  std::uint64_t told_ = 0;      // messages to the hub
  std::uint64_t answered_ = 0;  // by it, in order
  std::deque<std::pair<std::uint64_t, std::move_only_function<void()>>> waiting_;
  bool is_caught_ = true;  // the hub has taken all that it was told
  bool is_kept_ = true;    // the disk likewise
};

}  // namespace rooster::app
