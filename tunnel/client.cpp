#include "tunnel/client.hpp"

#include "net/dial.hpp"
#include "tunnel/checksum.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include <netinet/in.h>
#include <sys/socket.h>

namespace rooster::tunnel {
namespace {

using namespace std::chrono_literals;

constexpr auto kResolveTime = 4s;
constexpr auto kImpatience = 2s;      // a dial without a sign of life: is the link still there?
constexpr auto kWebsocketTime = 10s;  // TCP, TLS and the upgrade
constexpr std::size_t kMaxEndpoints = 4;
constexpr std::size_t kMaxPingBytes = 1200;
constexpr std::size_t kEchoAt = 40;  // behind the IPv6 header
constexpr std::uint8_t kEchoReply = 129;
constexpr std::uint8_t kUnreachable = 1;

// Does this host know a way to `to`? Asks the routing table; nothing is sent.
bool has_route(const Endpoint& to) {
  sockaddr_storage address{};
  const socklen_t size = to.to(address);
  const Descriptor probe(::socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  return probe && ::connect(probe.get(), reinterpret_cast<sockaddr*>(&address), size) == 0;
}

}  // namespace

std::string HostPort::to_string() const {
  const bool is_six = host.find(':') != std::string::npos && host.front() != '[';
  return (is_six ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

// A ping that waits for its answer; lies in ping()'s frame.
struct Client::Echo {
  Waiter* waiter;
  IpAddress to;
  bool answered = false;
  bool unreachable = false;
  IpAddress from{};
  std::size_t bytes = 0;
};

Result<std::unique_ptr<Client>> Client::create(Loop& loop, ClientOptions options, Report report) {
  NetnsOptions netns;
  netns.address = options.address;
  netns.mtu = options.mtu;
  netns.tun_device = options.tun_device;
  auto stack = choose_stack(loop, options.stack, netns);
  if (!stack) return fail(stack.error());
  return create(loop, std::move(options), std::move(*stack), std::move(report));
}

Result<std::unique_ptr<Client>> Client::create(Loop& loop, ClientOptions options, ChosenStack stack,
                                               Report report) {
  std::unique_ptr<Client> client(
      new Client(loop, std::move(options), std::move(report), std::move(stack)));
  if (auto opened = client->open_sockets(); !opened) return fail(opened.error());
  return client;
}

Client::Client(Loop& loop, ClientOptions options, Report report, ChosenStack stack)
    : loop_(loop),
      options_(std::move(options)),
      report_(std::move(report)),
      explanation_(std::move(stack.explanation)),
      stack_(std::move(stack.stack)),
      device_(options_.key, {.mtu = options_.mtu}, random_),
      pilot_(options_.websocket.has_value() && options_.tls != nullptr),
      group_(loop),
      resolver_(loop, options_.resolver),
      echo_id_(static_cast<std::uint16_t>(random_.next_u32())) {
  DeviceLoopOptions io;
  io.clock = options_.clock;
  tunnel_ = std::make_unique<DeviceLoop>(loop, device_, stack_->packets(), std::move(io));
}

Client::~Client() = default;

Result<> Client::open_sockets() {
  PeerSettings peer;
  peer.key = options_.gateway;
  peer.preshared = options_.preshared;
  peer.allowed_ips = options_.allowed_ips;
  peer.keepalive = options_.keepalive;
  const Moment now = tunnel_->now();
  const auto added = device_.add_peer(peer, now);
  if (!added) return fail(Fault::Internal, "the gateway's public key is not one");
  gateway_ = *added;
  PeerFacts facts;
  facts.key = options_.gateway;
  facts.last_sent = options_.last_sent;
  device_.restore({&facts, 1}, now);
  bool any = false;
  for (const char* all : {"0.0.0.0", "::"}) {
    auto socket = UdpSocket::bind({*IpAddress::parse(all), 0});
    if (!socket) continue;  // a host without that family
    tunnel_->add_socket(std::move(*socket));
    any = true;
  }
  if (!any) return fail(Fault::Internal, "no UDP socket can be made here");
  hook_up();
  return {};
}

void Client::hook_up() {
  DeviceHooks hooks;
  hooks.peer_event = [this](const PeerEvent& event) { on_event(event); };
  hooks.packet = [this](PeerId, Packet packet) { return take_packet(packet); };
  hooks.clock_jumped = [this](Duration slept) {
    pilot_.slept(slept, tunnel_->now().boot);
    pilot();
  };
  hooks.websocket_ended = [this](std::uint32_t number, const Error& why) {
    if (number != websocket_) return;
    websocket_ = 0;
    pilot_.websocket_ended(why.detail, tunnel_->now().boot);
    pilot();
  };
  tunnel_->set_hooks(std::move(hooks));
}

void Client::start() {
  tunnel_->start();
  pilot_.start(tunnel_->now().boot);
  group_.spawn(keep_time());
  pilot();
}

void Client::stop(std::move_only_function<void()> done) {
  stopping_ = true;
  group_.interrupt_all(Fault::Interrupted);
  group_.when_empty([this, done = std::move(done)]() mutable { tunnel_->stop(std::move(done)); });
}

PeerStatistics Client::statistics() const {
  return device_.statistics(gateway_, tunnel_->now()).value_or(PeerStatistics{});
}

Tai64n Client::last_sent() const {
  const auto facts = device_.facts();
  return facts.empty() ? Tai64n{} : facts.front().last_sent;
}

void Client::poke() {
  tunnel_->poke();
  pilot_.tick(tunnel_->now().boot);
  pilot();
}

// ---- the pilot's ears

void Client::on_event(const PeerEvent& event) {
  const TimePoint now = tunnel_->now().boot;
  switch (event.kind) {
    case PeerEvent::Kind::Initiated:
      pilot_.initiated(now);
      break;
    case PeerEvent::Kind::Established: {
      const bool by_websocket = statistics().endpoint.kind == TunnelEndpoint::Kind::Ws;
      pilot_.established(by_websocket ? Carrier::Websocket : Carrier::Udp, now);
      break;
    }
    case PeerEvent::Kind::GaveUp:
      pilot_.gave_up(now);
      break;
    case PeerEvent::Kind::EndpointChanged:
    case PeerEvent::Kind::KeysZeroed:
      break;
  }
  pilot();
}

// Waits for the pilot's next moment. Its times are the options' clock's, which in tests is not the
// loop's.
Task<> Client::keep_time() {
  Waiter waiter(group_);
  time_waiter_ = &waiter;
  while (!stopping_) {
    const TimePoint next = waits_until_ = pilot_.next_tick();
    const TimePoint now = tunnel_->now().boot;
    const TimePoint deadline =
        next == kNever ? kNever : loop_.now() + std::max(next - now, Duration{});
    const Woke woke = co_await waiter.wait(deadline);
    if (woke == Woke::Interrupted) break;
    pilot_.tick(tunnel_->now().boot);
    pilot();
  }
  time_waiter_ = nullptr;
  co_return {};
}

// ---- the pilot's hands

void Client::pilot() {
  if (piloting_ || stopping_) return;  // what an action brings about is seen by the loop below
  piloting_ = true;
  for (int round = 0; round < 8; ++round) {
    for (LinkReport& report : pilot_.take_reports()) {
      if (report.kind == LinkReport::Kind::Lost) report.after = silence();
      report_(report);
    }
    const auto actions = pilot_.take_actions();
    if (actions.empty()) break;
    for (const LinkAction action : actions) perform(action);
  }
  piloting_ = false;
  if (time_waiter_ != nullptr && pilot_.next_tick() != waits_until_) time_waiter_->notify();
  if (pilot_.is_up()) {
    for (Waiter* waiter : waiting_) waiter->notify();
  }
}

TunnelEndpoint Client::first_udp() const {
  return endpoints_.empty() ? TunnelEndpoint{} : TunnelEndpoint::udp(endpoints_.front());
}

void Client::set_endpoint(const TunnelEndpoint& endpoint) {
  PeerChange change;
  change.endpoint = endpoint;
  device_.update_peer(gateway_, change, tunnel_->now());
}

void Client::initiate() {
  device_.initiate(gateway_, tunnel_->now(), tunnel_->output());
  tunnel_->flush();
}

void Client::perform(LinkAction action) {
  const auto websocket = TunnelEndpoint::websocket(websocket_, {});
  // The bytes lie in the Device: a copy, as sending may change it.
  const auto waiting = device_.last_initiation(gateway_);
  const std::vector<std::uint8_t> initiation(waiting.begin(), waiting.end());
  switch (action) {
    case LinkAction::Resolve:
      if (!resolving_) group_.spawn(resolve_and_initiate());
      break;
    case LinkAction::SendElsewhere:
      for (std::size_t i = 1; i < endpoints_.size() && !initiation.empty(); ++i) {
        tunnel_->send_datagram(TunnelEndpoint::udp(endpoints_[i]), initiation);
      }
      break;
    case LinkAction::OpenWebsocket:
      group_.spawn(open_websocket());
      break;
    case LinkAction::CloseWebsocket:
      ++websocket_try_;
      if (websocket_ != 0) tunnel_->close_websocket(std::exchange(websocket_, 0));
      break;
    case LinkAction::SendByWebsocket:
      if (!initiation.empty()) tunnel_->send_datagram(websocket, initiation);
      break;
    case LinkAction::Probe: {
      const TunnelEndpoint before = statistics().endpoint;
      set_endpoint(first_udp());
      initiate();
      if (before.kind == TunnelEndpoint::Kind::Ws) set_endpoint(before);
      break;
    }
    case LinkAction::UseWebsocket:
      if (websocket_ != 0) set_endpoint(websocket);
      initiate();
      break;
    case LinkAction::Initiate:
      initiate();
      break;
  }
}

Task<> Client::resolve_and_initiate() {
  resolving_ = true;
  Waiter waiter(group_);
  const TimePoint deadline = loop_.now() + kResolveTime;
  std::vector<Endpoint> found;
  std::string trouble;
  for (const HostPort& endpoint : options_.endpoints) {
    const auto resolved = co_await resolver_.resolve(endpoint.host, waiter, deadline);
    if (!resolved) trouble = endpoint.host + ": " + resolved.error().detail;
    if (!resolved) continue;
    for (const IpAddress& address : resolved->addresses) {
      found.push_back({address, endpoint.port});
    }
  }
  resolving_ = false;
  if (stopping_) co_return {};
  const TimePoint now = tunnel_->now().boot;
  if (auto ordered = order_endpoints(std::move(found), trouble); !ordered) {
    trouble_ = ordered.error().detail;
    pilot_.unresolved(trouble_, now);
    pilot();
    co_return {};
  }
  set_endpoint(first_udp());
  initiate();
  pilot();
  co_return {};
}

// Keeps those that can be reached, one of each family first.
Result<> Client::order_endpoints(std::vector<Endpoint> found, const std::string& trouble) {
  std::vector<Endpoint> usable;
  for (const Endpoint& endpoint : found) {
    const bool is_known = std::find(usable.begin(), usable.end(), endpoint) != usable.end();
    if (!is_known && has_route(endpoint)) usable.push_back(endpoint);
  }
  if (usable.empty()) {
    if (!endpoints_.empty()) return {};
    if (!found.empty())
      return fail(Fault::UpstreamUnresolved, "no route to " + found[0].to_string());
    return fail(Fault::UpstreamUnresolved,
                trouble.empty() ? "the gateway has no address" : trouble);
  }
  const auto other = std::find_if(usable.begin(), usable.end(), [&usable](const Endpoint& one) {
    return one.address.is_v4() != usable.front().address.is_v4();
  });
  if (other != usable.end()) std::rotate(usable.begin() + 1, other, other + 1);
  usable.resize(std::min(usable.size(), kMaxEndpoints));
  endpoints_ = std::move(usable);
  return {};
}

// ---- WebSocket

Task<std::unique_ptr<Stream>> Client::connect_websocket(Waiter& waiter, TimePoint deadline) {
  const HostPort& at = *options_.websocket;
  const auto resolved = co_await resolver_.resolve(at.host, waiter, deadline);
  if (!resolved) co_return resolved.error();
  Error last(Fault::UpstreamUnresolved, at.host + " has no address");
  for (const IpAddress& address : resolved->addresses) {
    auto stream = co_await net::dial({address, at.port}, waiter, deadline);
    if (!stream) {
      last = stream.error();
      if (waiter.is_interrupted()) break;
      continue;
    }
    const std::string name = options_.websocket_name.empty() ? at.host : options_.websocket_name;
    const auto secured = co_await net::secure(**stream, *options_.tls, name, waiter, deadline);
    if (!secured) co_return secured.error();
    co_return std::move(*stream);
  }
  co_return last;
}

Task<> Client::open_websocket() {
  const std::uint32_t number = ++websocket_try_;
  Waiter waiter(group_);
  const TimePoint deadline = loop_.now() + kWebsocketTime;
  const HostPort& at = *options_.websocket;
  std::string why;
  std::unique_ptr<Stream> stream;
  std::string input;
  if (auto connected = co_await connect_websocket(waiter, deadline); !connected) {
    why = connected.error().detail;
  } else {
    stream = std::move(*connected);
    const std::string name = options_.websocket_name.empty() ? at.host : options_.websocket_name;
    auto upgraded =
        co_await upgrade_to_websocket(*stream, name, options_.websocket_path, waiter, deadline);
    if (!upgraded) why = upgraded.error().detail;
    if (upgraded) input = std::move(*upgraded);
  }
  if (stopping_ || number != websocket_try_) co_return {};
  const TimePoint now = tunnel_->now().boot;
  if (why.empty()) {
    websocket_ =
        tunnel_->add_websocket(std::move(stream), WebsocketRole::Client, {}, std::move(input));
    if (websocket_ == 0) why = "closed at once";
  }
  if (why.empty()) {
    pilot_.websocket_opened(now);
  } else {
    trouble_ = "WebSocket " + at.to_string() + ": " + why;
    pilot_.websocket_ended(trouble_, now);
  }
  pilot();
  co_return {};
}

// ---- callers

// How long nothing authentic has come.
Duration Client::silence() const {
  const PeerStatistics known = statistics();
  if (!known.last_received) return {};
  return std::max(tunnel_->now().boot - *known.last_received, Duration{});
}

Task<Dialled> Client::dial(Endpoint remote, Waiter& waiter, TimePoint deadline) {
  const TimePoint began = loop_.now();
  Timer impatience(loop_, [this, began] {
    if (!stopping_ && silence() >= loop_.now() - began) initiate();
  });
  impatience.set(began + kImpatience);
  co_return co_await stack_->dial(remote, waiter, deadline);
}

Task<> Client::wait_until_up(Waiter& waiter, TimePoint deadline) {
  while (!pilot_.is_up()) {
    waiting_.push_back(&waiter);
    const Woke woke = co_await waiter.wait(deadline);
    std::erase(waiting_, &waiter);
    if (woke == Woke::Interrupted) co_return Error(waiter.interrupted_by());
    if (woke != Woke::Deadline || pilot_.is_up()) continue;
    std::string tried = "no answer from the gateway";
    for (std::size_t i = 0; i < endpoints_.size(); ++i) {
      tried += (i == 0 ? " at UDP " : ", ") + endpoints_[i].to_string();
    }
    if (!trouble_.empty()) tried += "; " + trouble_;
    co_return Error(Fault::UpstreamTimeout, Reached::No, tried);
  }
  co_return {};
}

// True: the packet answers a ping of ours.
bool Client::take_packet(Packet packet) {
  if (echoes_.empty() || packet.size() < kEchoAt + 8 || (packet[0] >> 4) != 6 ||
      packet[6] != IPPROTO_ICMPV6) {
    return false;
  }
  const bool is_error = packet[kEchoAt] == kUnreachable;
  if (!is_error && packet[kEchoAt] != kEchoReply) return false;
  // An error quotes our request behind its own 8 bytes.
  const std::size_t at = is_error ? kEchoAt + 8 + kEchoAt : kEchoAt;
  if (packet.size() < at + 8 || get_u16(&packet[at + 4]) != echo_id_) return false;
  const auto found = echoes_.find(get_u16(&packet[at + 6]));
  if (found == echoes_.end()) return false;
  Echo& echo = *found->second;
  std::array<std::uint8_t, 16> from;
  std::memcpy(from.data(), &packet[8], from.size());
  echo.from = IpAddress::from_bytes(from);
  echo.answered = true;
  echo.unreachable = is_error;
  echo.bytes = packet.size() - at - 8;
  echo.waiter->notify();
  return true;
}

Task<PingReply> Client::ping(IpAddress to, std::size_t payload_bytes, Waiter& waiter,
                             TimePoint deadline) {
  std::vector<std::uint8_t> payload(std::min(payload_bytes, kMaxPingBytes));
  random_.fill(payload);
  std::vector<std::uint8_t> packet(payload.size() + 64);
  const std::uint16_t sequence = next_echo_++;
  Echo echo{&waiter, to};
  echoes_[sequence] = &echo;
  const TimePoint sent = Clock::now();
  const std::size_t bytes =
      make_echo_request(packet, options_.address, to, echo_id_, sequence, payload);
  tunnel_->send_packet(std::span(packet).first(bytes));
  Woke woke = Woke::Ready;
  while (!echo.answered && woke != Woke::Deadline && woke != Woke::Interrupted) {
    woke = co_await waiter.wait(deadline);
  }
  echoes_.erase(sequence);
  if (woke == Woke::Interrupted) co_return Error(waiter.interrupted_by());
  if (!echo.answered) co_return Error(Fault::UpstreamTimeout, to.to_string() + ": no answer");
  if (echo.unreachable) {
    co_return Error(Fault::UpstreamRefused, to.to_string() + ": address unreachable");
  }
  co_return PingReply{echo.from, Clock::now() - sent, echo.bytes};
}

}  // namespace rooster::tunnel
