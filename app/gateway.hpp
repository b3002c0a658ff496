// Gateway: the thread of the private network's packets and names. Datagrams come in by UDP or
// WebSocket, packets go on into the hub's TUN device, and the names are answered from a directory
// that control keeps up to date by posts.
#pragma once

#include "app/gateway_counts.hpp"
#include "app/thread_loop.hpp"
#include "cluster/records.hpp"
#include "config/node_config.hpp"
#include "core/ask.hpp"
#include "core/log.hpp"
#include "dns/directory.hpp"
#include "dns/name_server.hpp"
#include "tunnel/device_loop.hpp"
#include "tunnel/stack.hpp"
#include "tunnel/uapi_socket.hpp"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace rooster::app {

class Gateway {
 public:
  /// A peer's public key and what is to be remembered of its session.
  using Memories = std::vector<std::pair<cluster::Key, cluster::PeerMemory>>;

  /// Apps whose names answer otherwise now; those that are gone first.
  struct AppChanges {
    std::vector<std::pair<NetworkId, std::string>> gone;
    std::vector<std::pair<NetworkId, dns::AppRecord>> now;
  };

  /// One peer's session, for `rooster wireguard status`.
  struct PeerStatus {
    cluster::Key key{};
    tunnel::PeerStatistics statistics{};
  };

  struct Parts {
    Log& log;
    cluster::Key private_key;
    config::WireguardConfig wireguard;
    std::string gateway_host;  ///< "rooster.<domain>"
    std::vector<Endpoint> dns_upstream;
    Descriptor tun;  ///< unset: lwIP terminates the peers' connections
    /// Of the hub: machines ask there, and with `tun` peers too.
    Descriptor dns_datagrams, dns_listener;
    /// A peer's connection that lwIP accepted; on the tunnel thread.
    std::function<void(tunnel::Dialled)> accepted;
    std::chrono::milliseconds peer_timeout;  ///< a peer silent for so long is gone
    /// What to remember; called on the tunnel thread, each half minute.
    std::function<void(Memories)> remember;
    /// Peers that have just become silent for longer than peer_timeout; on the tunnel thread.
    std::function<void(std::vector<cluster::Key>)> silent;
    /// What has been counted so far; on the tunnel thread, each second.
    std::function<void(const GatewayCounts&)> counted;
    /// What `wg set` asks for of known peers, beside their endpoints; called on the tunnel thread.
    std::function<void(const tunnel::UapiRequest&)> change_peers;
  };

  explicit Gateway(Parts parts);
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  /// Binds [wireguard] listen and starts the thread. Errors: Internal, with the mend.
  Result<> start();
  /// Ends the thread and gives what is to be remembered.
  Memories stop();

  // Any thread; control's, so that they come in order.
  void adopt(AppChanges changes);
  void adopt(std::chrono::milliseconds peer_timeout);
  void put_peer(cluster::PeerPtr peer, cluster::PeerMemory memory);
  void remove_peer(cluster::PeerPtr peer);
  /// A connection whose request for a WebSocket, `input`, waits for its 101. Any thread.
  void adopt_websocket(Stream::Parts connection, std::string input, const IpAddress& source);

  /// The peers' sessions; on the tunnel thread.
  std::vector<PeerStatus> status() const;
  Loop& loop() { return thread_.loop(); }
  std::uint16_t port() const { return port_; }

 private:
  void post(std::move_only_function<void()> work) { thread_.loop().post(std::move(work)); }
  Result<> bind();
  Result<> open_stack();
  void open();
  bool take_query(tunnel::PeerId peer, tunnel::Packet packet);
  void take_connection(tunnel::Dialled connection);
  bool is_wanted(const Endpoint& local, const Endpoint& remote) const;
  void open_uapi();
  void change_peers(const tunnel::UapiRequest& request);
  void each_half_minute();
  GatewayCounts counts() const;
  void greet_old_peers();
  void put_peer_here(const cluster::Peer& peer, const cluster::PeerMemory& memory);
  std::optional<NetworkId> network_of_peer(tunnel::PeerId peer) const;
  bool may_reach(tunnel::PeerId peer, const IpAddress& destination) const;
  bool is_there(tunnel::PeerId peer, const IpAddress& destination) const;
  Memories memories() const;
  void tell_silent();

  Parts parts_;
  ThreadLoop thread_{"tunnel"};
  std::vector<Descriptor> sockets_;
  std::uint16_t port_ = 0;
  tunnel::SystemRandom random_;
  tunnel::Device device_;
  std::unique_ptr<tunnel::PacketPort> tun_;
  std::unique_ptr<tunnel::Stack> lwip_;  // where there is no tun_
  std::unique_ptr<tunnel::DeviceLoop> device_loop_;
  std::unique_ptr<tunnel::UapiSocket> uapi_;
  dns::Directory directory_;
  std::unique_ptr<dns::Recursor> recursor_;
  std::unique_ptr<dns::NameServer> names_;
  std::unordered_map<tunnel::PeerId, NetworkId> networks_;
  std::map<cluster::Key, tunnel::PeerId> peers_;
  std::set<cluster::Key> silent_;         // told already
  std::vector<tunnel::PeerId> to_greet_;  // seen lately before a restart
  std::unique_ptr<Timer> half_minute_;
  std::unique_ptr<Timer> greeting_;
  std::unique_ptr<Timer> second_;
  bool is_started_ = false;
};

}  // namespace rooster::app
