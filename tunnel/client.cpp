#include "tunnel/client.hpp"

#include "tunnel/checksum.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include <netinet/in.h>
#include <sys/socket.h>

namespace rooster::tunnel {
namespace {

using namespace std::chrono_literals;

constexpr auto kImpatience = 2s;  // a dial without a sign of life: is the link still there?
constexpr std::size_t kMaxPingBytes = 1200;
// The gateway says within 2 s that it has heard: a blocked way is noticed long before WireGuard's
// 15 s. One that does not is asked more often, no more.
constexpr auto kNoAnswerAfter = std::chrono::seconds(4);
constexpr std::size_t kEchoAt = 40;  // behind the IPv6 header
constexpr std::uint8_t kEchoReply = 129;
constexpr std::uint8_t kUnreachable = 1;

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
      device_(options_.key, {.mtu = options_.mtu, .no_answer_after = kNoAnswerAfter}, random_),
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
