#include "app/gateway.hpp"

#include "core/private_address.hpp"
#include "tunnel/lwip_stack.hpp"
#include "tunnel/tun_port.hpp"
#include "tunnel/udp_packet.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <future>

namespace rooster::app {
namespace {

using namespace std::chrono_literals;

constexpr auto kRememberEach = 30s;
constexpr auto kCountEach = 1s;
// Who had a session that may still live (WireGuard paper §6.2) is greeted after a restart: its own
// datagrams would be met with silence for 15 s.
constexpr auto kGreetSeenWithin = 180s;
constexpr std::size_t kGreetingsPerTenth = 50;
// Sooner than WireGuard's 10 s: our clients take 4 s of silence for a way that is blocked.
constexpr auto kSaysItHears = 2s;
constexpr std::uint16_t kDnsPort = 53;

tunnel::Tai64n stamp(const cluster::Tai64n& bytes) {
  tunnel::Tai64n made;
  std::ranges::copy(bytes, made.bytes.begin());
  return made;
}

// The value of the first field of that name (in lower case) in a vetted head; "": there is none.
std::string field_value(std::string_view head, std::string_view name) {
  for (std::size_t at = head.find("\r\n"); at != std::string_view::npos;
       at = head.find("\r\n", at)) {
    at += 2;
    const std::string_view line = head.substr(at, head.find("\r\n", at) - at);
    const std::size_t colon = line.find(':');
    if (colon != name.size() || !dns::equal_folded(line.substr(0, colon), name)) continue;
    std::string_view value = line.substr(colon + 1);
    while (value.starts_with(' ') || value.starts_with('\t')) value.remove_prefix(1);
    while (value.ends_with(' ') || value.ends_with('\t')) value.remove_suffix(1);
    return std::string(value);
  }
  return {};
}

}  // namespace

Gateway::Gateway(Parts parts)
    : parts_(std::move(parts)),
      device_(tunnel::PrivateKey(parts_.private_key),
              {.mtu = parts_.wireguard.mtu, .keepalive_after = kSaysItHears}, random_) {}

Gateway::~Gateway() {
  stop();
}

Result<> Gateway::bind() {
  const config::ListenAddress& listen = parts_.wireguard.listen;
  std::vector<IpAddress> hosts;
  if (listen.host.empty()) {
    hosts = {IpAddress(), IpAddress::v4(0)};
  } else if (const auto host = IpAddress::parse(listen.host)) {
    hosts = {*host};
  }
  port_ = listen.port;
  for (const IpAddress& host : hosts) {
    auto socket = tunnel::UdpSocket::bind({host, port_});
    if (!socket && listen.host.empty() && !host.is_v4()) continue;  // no IPv6 on this host
    if (!socket) {
      return fail(Fault::Internal,
                  "can't receive datagrams on " + Endpoint{host, port_}.to_string() + ": " +
                      socket.error().detail + "; free the port or change [wireguard] listen");
    }
    if (port_ == 0) {
      sockaddr_storage bound{};
      socklen_t size = sizeof bound;
      ::getsockname(socket->get(), reinterpret_cast<sockaddr*>(&bound), &size);
      port_ = Endpoint::from(bound).port;
    }
    sockets_.push_back(std::move(*socket));
  }
  return {};
}

Result<> Gateway::start() {
  if (auto bound = bind(); !bound) return bound;
  if (auto opened = open_stack(); !opened) return opened;
  is_started_ = true;
  thread_.start();
  post([this] { open(); });
  return {};
}

Result<> Gateway::open_stack() {
  if (parts_.tun) {
    auto port = tunnel::TunPort::create(std::move(parts_.tun));
    if (!port) return fail(port.error());
    tun_ = std::move(*port);
    return {};
  }
  auto stack = tunnel::make_lwip_stack(
      loop(), {.address = machine_dns_address(), .mtu = parts_.wireguard.mtu});
  if (!stack) return fail(stack.error());
  lwip_ = std::move(*stack);
  return lwip_->listen(
      {.is_wanted = [this](const Endpoint& local,
                           const Endpoint& remote) { return is_wanted(local, remote); },
       .accepted = [this](tunnel::Dialled connection) { take_connection(std::move(connection)); }});
}

// The thread's first turn.
void Gateway::open() {
  tunnel::DeviceLoopOptions options;
  options.gate.may_reach = [this](tunnel::PeerId peer, const IpAddress& destination) {
    return may_reach(peer, destination);
  };
  options.gate.answers_echo = [this](tunnel::PeerId peer, const IpAddress& destination) {
    return is_there(peer, destination);
  };
  device_loop_ = std::make_unique<tunnel::DeviceLoop>(
      loop(), device_, tun_ ? *tun_ : lwip_->packets(), std::move(options));
  if (lwip_) {
    tunnel::DeviceHooks hooks;
    hooks.packet = [this](tunnel::PeerId peer, tunnel::Packet packet) {
      return take_query(peer, packet);
    };
    device_loop_->set_hooks(std::move(hooks));
  }
  for (Descriptor& socket : sockets_) device_loop_->add_socket(std::move(socket));
  sockets_.clear();
  device_loop_->start();
  open_uapi();

  dns::RecursorOptions recursion;
  for (const Endpoint& server : parts_.dns_upstream) {
    recursion.upstream.servers.push_back(server.to_string());
  }
  recursion.gateway_name = parts_.gateway_host;
  recursor_ = std::make_unique<dns::Recursor>(loop(), std::move(recursion));
  names_ = std::make_unique<dns::NameServer>(
      loop(), directory_, recursor_.get(), [](const IpAddress& source) {
        const auto network = network_of(source);
        return network && network->value != 0 ? network : std::nullopt;
      });
  if (parts_.dns_datagrams) names_->serve_datagrams(std::move(parts_.dns_datagrams));
  if (parts_.dns_listener) names_->serve_streams(std::move(parts_.dns_listener));

  half_minute_ = std::make_unique<Timer>(loop(), [this] { each_half_minute(); });
  half_minute_->set(Clock::now() + kRememberEach);
  greeting_ = std::make_unique<Timer>(loop(), [this] { greet_old_peers(); });
  second_ = std::make_unique<Timer>(loop(), [this] {
    parts_.counted(counts());
    second_->set(Clock::now() + kCountEach);
  });
  second_->set(Clock::now() + kCountEach);
}

void Gateway::open_uapi() {
  tunnel::UapiOptions options{.path = tunnel::uapi_path(parts_.wireguard.interface),
                              .policy = tunnel::UapiPolicy::Gateway,
                              .apply = [this](const tunnel::UapiRequest& request) {
                                change_peers(request);
                                return 0;
                              }};
  auto socket = tunnel::UapiSocket::create(*device_loop_, std::move(options));
  if (socket) {
    uapi_ = std::move(*socket);
  } else {
    parts_.log.warn("`wg show` will not find this device: " + socket.error().detail);
  }
}

// Endpoints are of the moment; the rest comes back from the registry, as any other change.
void Gateway::change_peers(const tunnel::UapiRequest& request) {
  for (const tunnel::UapiPeer& asked : request.peers) {
    const auto id = device_.find_peer(asked.key);
    if (!id || !asked.endpoint) continue;
    device_.update_peer(*id, {.endpoint = tunnel::TunnelEndpoint::udp(*asked.endpoint)},
                        device_loop_->now());
  }
  if (parts_.change_peers) parts_.change_peers(request);
}

Gateway::Memories Gateway::stop() {
  if (!std::exchange(is_started_, false)) return {};
  Memories last;
  std::promise<void> stopped;
  post([this, &stopped, &last] {
    half_minute_.reset();
    greeting_.reset();
    second_.reset();
    last = memories();
    const auto end = [this, &stopped] {
      device_loop_->stop([this, &stopped] {
        uapi_.reset();
        names_.reset();
        recursor_.reset();
        device_loop_.reset();
        stopped.set_value();
      });
    };
    names_->stop([this, end] {
      if (uapi_) {
        uapi_->stop(end);
      } else {
        end();
      }
    });
  });
  stopped.get_future().wait();
  thread_.stop();
  lwip_.reset();  // outside a turn: it runs its own
  return last;
}

// ---- facts from control

void Gateway::adopt(AppChanges changes) {
  post([this, changes = std::move(changes)]() mutable {
    for (const auto& [network, name] : changes.gone) directory_.remove_app(network, name);
    for (auto& [network, record] : changes.now) directory_.put_app(network, std::move(record));
  });
}

void Gateway::adopt(std::chrono::milliseconds peer_timeout) {
  post([this, peer_timeout] { parts_.peer_timeout = peer_timeout; });
}

void Gateway::put_peer(cluster::PeerPtr peer, cluster::PeerMemory memory) {
  post([this, peer = std::move(peer), memory] { put_peer_here(*peer, memory); });
}

void Gateway::put_peer_here(const cluster::Peer& peer, const cluster::PeerMemory& memory) {
  tunnel::PeerSettings settings{
      .key = {peer.key},
      .preshared = peer.preshared ? tunnel::PresharedKey(*peer.preshared) : tunnel::PresharedKey(),
      .allowed_ips = {tunnel::Prefix::of(peer.address, kPeerPrefixBits)},
      .endpoint = {},
      .keepalive = std::chrono::seconds(peer.keepalive_seconds)};
  const tunnel::Moment now = device_loop_->now();
  auto id = device_.find_peer(settings.key);
  if (id) {
    tunnel::PeerChange change{.preshared = settings.preshared,
                              .allowed_ips = settings.allowed_ips,
                              .more_allowed_ips = {},
                              .endpoint = {},
                              .keepalive = settings.keepalive};
    device_.update_peer(*id, change, now);
  } else {
    id = device_.add_peer(settings, now);
    if (!id) return;  // a key without a shared secret: nobody can speak for it
    tunnel::PeerFacts facts{.key = settings.key,
                            .endpoint = {},
                            .greatest_received = stamp(memory.received),
                            .last_sent = stamp(memory.sent),
                            .last_handshake = {}};
    if (memory.endpoint.port != 0) facts.endpoint = tunnel::TunnelEndpoint::udp(memory.endpoint);
    if (memory.last_handshake != WallTime{}) facts.last_handshake = memory.last_handshake;
    device_.restore(std::span(&facts, 1), now);
    const bool was_here = now.wall - memory.last_handshake < kGreetSeenWithin;
    if (was_here && facts.endpoint) {
      if (to_greet_.empty()) greeting_->set(Clock::now());
      to_greet_.push_back(*id);
    }
  }
  networks_[*id] = peer.network;
  peers_[peer.key] = *id;
  directory_.put_peer(peer.network, {.name = peer.name, .address = peer.address});
}

void Gateway::remove_peer(cluster::PeerPtr peer) {
  post([this, peer = std::move(peer)] {
    directory_.remove_peer(peer->network, peer->name);
    const auto found = peers_.find(peer->key);
    if (found == peers_.end()) return;
    networks_.erase(found->second);
    device_.remove_peer(found->second);
    silent_.erase(peer->key);
    peers_.erase(found);
  });
}

void Gateway::greet_old_peers() {
  const std::size_t count = std::min(to_greet_.size(), kGreetingsPerTenth);
  for (std::size_t i = 0; i < count; ++i) {
    device_.initiate(to_greet_.back(), device_loop_->now(), device_loop_->output());
    to_greet_.pop_back();
  }
  device_loop_->flush();
  if (!to_greet_.empty()) greeting_->set(Clock::now() + 100ms);
}

void Gateway::each_half_minute() {
  parts_.remember(memories());
  tell_silent();
  half_minute_->set(Clock::now() + kRememberEach);
}

// Its connections would hold their machines awake for ever.
void Gateway::tell_silent() {
  const tunnel::Moment now = device_loop_->now();
  std::vector<cluster::Key> fresh;
  for (const auto& [key, id] : peers_) {
    const auto statistics = device_.statistics(id, now);
    if (!statistics || !statistics->last_received) continue;
    if (now.boot - *statistics->last_received < parts_.peer_timeout) {
      silent_.erase(key);
    } else if (silent_.insert(key).second) {
      fresh.push_back(key);
    }
  }
  if (!fresh.empty()) parts_.silent(std::move(fresh));
}

// ---- where lwIP stands in for the kernel

bool Gateway::is_wanted(const Endpoint& local, const Endpoint& remote) const {
  const auto own = network_of(remote.address);
  if (!own || network_of(local.address) != own) return false;
  return local.address == infra_address(*own) ||
         directory_.zone(*own).owner(local.address) != nullptr;
}

void Gateway::take_connection(tunnel::Dialled connection) {
  const auto network = network_of(connection.remote.address);
  const bool is_name_server = network && connection.local.address == infra_address(*network) &&
                              connection.local.port == kDnsPort;
  if (is_name_server) {
    names_->serve_stream(std::move(connection.fd), connection.remote.address);
  } else {
    parts_.accepted(std::move(connection));
  }
}

// lwIP answers no datagrams: questions to the name server are taken before it.
bool Gateway::take_query(tunnel::PeerId peer, tunnel::Packet packet) {
  const auto query = tunnel::parse_udp_packet(packet);
  const auto network = network_of_peer(peer);
  if (!query || !network) return false;
  if (query->destination != Endpoint{infra_address(*network), kDnsPort}) return false;
  names_->serve_query(
      query->source.address,
      std::string(reinterpret_cast<const char*>(query->payload.data()), query->payload.size()),
      [this, from = query->destination, to = query->source](std::string_view reply) {
        device_loop_->send_packet(tunnel::make_udp_packet(
            from, to, {reinterpret_cast<const std::uint8_t*>(reply.data()), reply.size()}));
        device_loop_->flush();
      });
  return true;
}

GatewayCounts Gateway::counts() const {
  const tunnel::DeviceLoopCounters moved = device_loop_->counters();
  const tunnel::DeviceStatistics& seen = device_.statistics();
  const tunnel::GateCounters& gate = device_loop_->gate_counters();
  const dns::ServerCounts& asked = names_->counts();
  const dns::RecursorCounts& recursive = recursor_->counts();
  GatewayCounts counts{.peers = peers_.size(),
                       .packets_in = moved.packets_in,
                       .packets_out = moved.packets_out,
                       .datagrams_in = moved.udp.received,
                       .datagrams_out = moved.udp.sent,
                       .malformed = seen.wrong_mac,
                       .unknown_index = seen.unknown_index,
                       .unauthentic = seen.unauthentic,
                       .replayed = seen.replayed,
                       .unknown_peer = seen.unknown_peer,
                       .rate_limited = seen.rate_limited,
                       .cookies_sent = seen.cookies_sent,
                       .foreign = gate.foreign,
                       .forbidden = gate.malformed + gate.extension + gate.scope + gate.protocol,
                       .over_limit = gate.connects,
                       .queue_full = moved.queue_dropped + moved.websocket_dropped,
                       .dns_queries = asked.queries,
                       .dns_malformed = asked.malformed,
                       .dns_refused = asked.refused,
                       .dns_truncated = asked.truncated,
                       .dns_recursive = recursive.questions,
                       .dns_from_cache = recursive.from_cache};
  const tunnel::Moment now = device_loop_->now();
  for (const auto& [key, id] : peers_) {
    const auto peer = device_.statistics(id, now);
    if (peer && peer->has_session) ++counts.sessions;
  }
  return counts;
}

// ---- questions

std::optional<NetworkId> Gateway::network_of_peer(tunnel::PeerId peer) const {
  const auto found = networks_.find(peer);
  return found != networks_.end() ? std::optional(found->second) : std::nullopt;
}

bool Gateway::may_reach(tunnel::PeerId peer, const IpAddress& destination) const {
  const auto own = network_of_peer(peer);
  return own && network_of(destination) == own;
}

bool Gateway::is_there(tunnel::PeerId peer, const IpAddress& destination) const {
  const auto own = network_of_peer(peer);
  if (!own) return false;
  if (destination == infra_address(*own)) return true;
  return directory_.zone(*own).owner(destination) != nullptr;
}

Gateway::Memories Gateway::memories() const {
  Memories all;
  for (const tunnel::PeerFacts& facts : device_.facts()) {
    cluster::PeerMemory memory;
    if (facts.endpoint.kind == tunnel::TunnelEndpoint::Kind::Udp) {
      memory.endpoint = facts.endpoint.remote;
    }
    std::ranges::copy(facts.greatest_received.bytes, memory.received.begin());
    std::ranges::copy(facts.last_sent.bytes, memory.sent.begin());
    if (facts.last_handshake) memory.last_handshake = *facts.last_handshake;
    all.emplace_back(facts.key.bytes, memory);
  }
  return all;
}

std::vector<Gateway::PeerStatus> Gateway::status() const {
  std::vector<PeerStatus> all;
  if (!device_loop_) return all;  // asked while the thread ends
  const tunnel::Moment now = device_loop_->now();
  for (const auto& [key, id] : peers_) {
    if (auto statistics = device_.statistics(id, now)) all.push_back({key, *statistics});
  }
  return all;
}

// ---- WireGuard over WebSocket

void Gateway::adopt_websocket(Stream::Parts connection, std::string input,
                              const IpAddress& source) {
  post([this, connection = std::move(connection), input = std::move(input), source]() mutable {
    if (!device_loop_) return;  // the thread ends
    auto stream = std::make_unique<Stream>(loop(), std::move(connection.fd),
                                           std::uint8_t{Pollable::kReadable | Pollable::kWritable});
    if (connection.ssl) stream->secure(std::move(connection.ssl));
    const std::size_t end = input.find("\r\n\r\n");
    const std::string key =
        field_value(std::string_view(input).substr(0, end), "sec-websocket-key");
    if (end == std::string::npos || key.empty()) {
      stream->write("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
      stream->shutdown_write();
      return;
    }
    stream->write(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
        ("Sec-WebSocket-Accept: " + tunnel::websocket_accept(key)) + "\r\n\r\n");
    device_loop_->add_websocket(std::move(stream), tunnel::WebsocketRole::Server, {source, 0},
                                input.substr(end + 4));
  });
}

}  // namespace rooster::app
