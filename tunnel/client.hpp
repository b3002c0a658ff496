// Client: a developer's end of the private network: one peer (the gateway), one stack, and a link
// that is kept for as long as the process lives: UDP and WebSocket raced, names resolved again,
// sleep noticed. LinkPilot decides; this does it.
#pragma once

#include "net/resolver.hpp"
#include "net/secure.hpp"
#include "tunnel/device_loop.hpp"
#include "tunnel/link_pilot.hpp"
#include "tunnel/stack_choice.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace rooster::tunnel {

/// A host, by name or address, and a port.
struct HostPort {
  std::string host;
  std::uint16_t port = 0;
  std::string to_string() const;
};

struct ClientOptions {
  PrivateKey key;
  IpAddress address;  ///< our own
  PublicKey gateway;
  PresharedKey preshared{};
  std::vector<Prefix> allowed_ips;  ///< what lies behind the gateway: its network's /48
  std::vector<HostPort> endpoints;  ///< of the gateway, UDP; resolved again after each loss
  std::chrono::seconds keepalive{15};
  Tai64n last_sent{};  ///< the key's: its next initiation is later (slots keep it)

  std::optional<HostPort> websocket;  ///< where it speaks WireGuard over WebSocket
  std::string websocket_path = "/";
  std::string websocket_name;           ///< the name for TLS and Host; "": websocket's host
  const net::ClientTls* tls = nullptr;  ///< for the WebSocket; must outlive the Client

  StackChoice stack = StackChoice::Auto;
  std::uint16_t mtu = 1280;
  std::string tun_device = "/dev/net/tun";
  net::ResolverOptions resolver{};
  std::function<Moment()> clock = system_moment;  ///< tests move it
};

/// An answer to a ping.
struct PingReply {
  IpAddress from;
  Duration took{};
  std::size_t bytes = 0;  ///< of the payload
};

class Client {
 public:
  using Report = std::move_only_function<void(const LinkReport&)>;

  /// Makes the stack (which may fork: before any thread) and the sockets. Errors: Internal, a
  /// sentence for a person.
  static Result<std::unique_ptr<Client>> create(Loop& loop, ClientOptions options, Report report);
  /// The same over a stack that is there already.
  static Result<std::unique_ptr<Client>> create(Loop& loop, ClientOptions options,
                                                ChosenStack stack, Report report);
  /// After stop() has called back.
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void start();
  void stop(std::move_only_function<void()> done);

  bool is_up() const { return pilot_.is_up(); }
  Carrier carrier() const { return pilot_.carrier(); }
  /// Waits until the link is up. Errors: UpstreamTimeout at the deadline, with what was tried; the
  /// interruption's fault.
  Task<> wait_until_up(Waiter& waiter, TimePoint deadline);
  /// A connection through the tunnel; if nothing at all comes from the gateway meanwhile, the link
  /// is made anew without waiting for WireGuard's 15 s. Errors: as Stack::dial.
  Task<Dialled> dial(Endpoint remote, Waiter& waiter, TimePoint deadline);
  /// One ICMPv6 echo with `payload_bytes` (at most 1200). Errors: UpstreamTimeout at the deadline,
  /// UpstreamRefused ("address unreachable"), the interruption's fault.
  Task<PingReply> ping(IpAddress to, std::size_t payload_bytes, Waiter& waiter, TimePoint deadline);

  const std::string& stack_explanation() const { return explanation_; }
  const char* stack_name() const { return stack_->name(); }
  const IpAddress& address() const { return options_.address; }
  PeerStatistics statistics() const;
  /// To keep for the key's next process.
  Tai64n last_sent() const;
  /// Looks at the clock now: after a stop (SIGCONT), and for tests that move it.
  void poke();
  DeviceLoop& tunnel() { return *tunnel_; }

 private:
  struct Echo;
  Client(Loop& loop, ClientOptions options, Report report, ChosenStack stack);
  Result<> open_sockets();
  void hook_up();
  void on_event(const PeerEvent& event);
  bool take_packet(Packet packet);
  void pilot();  // does what the pilot wants
  void perform(LinkAction action);
  Task<> keep_time();
  Task<> resolve_and_initiate();
  Result<> order_endpoints(std::vector<Endpoint> found, const std::string& trouble);
  Task<> open_websocket();
  Task<std::unique_ptr<Stream>> connect_websocket(Waiter& waiter, TimePoint deadline);
  void set_endpoint(const TunnelEndpoint& endpoint);
  void initiate();
  TunnelEndpoint first_udp() const;
  Duration silence() const;

  Loop& loop_;
  ClientOptions options_;
  Report report_;
  SystemRandom random_;
  std::string explanation_;
  std::unique_ptr<Stack> stack_;
  Device device_;
  std::unique_ptr<DeviceLoop> tunnel_;
  LinkPilot pilot_;
  TaskGroup group_;
  net::Resolver resolver_;
  PeerId gateway_{};
  std::vector<Endpoint> endpoints_;  // those we have a route to, best first
  std::uint32_t websocket_ = 0;
  std::uint32_t websocket_try_ = 0;  // counts openings: an older one's outcome is nobody's business
  bool resolving_ = false;
  bool piloting_ = false;
  bool stopping_ = false;
  std::string trouble_;  // the last thing that did not work
  Waiter* time_waiter_ = nullptr;
  TimePoint waits_until_ = kNever;
  std::vector<Waiter*> waiting_;  // for the link
  std::unordered_map<std::uint16_t, Echo*> echoes_;
  std::uint16_t echo_id_ = 0;
  std::uint16_t next_echo_ = 1;
};

}  // namespace rooster::tunnel
