// The client's link: what the pilot hears of the Device, and what it has done: names resolved,
// initiations sent here and there, the WebSocket opened.
#include "net/dial.hpp"
#include "tunnel/client.hpp"

#include <algorithm>

#include <sys/socket.h>

namespace rooster::tunnel {
namespace {

using namespace std::chrono_literals;

constexpr auto kResolveTime = 4s;
constexpr auto kWebsocketTime = 10s;  // TCP, TLS and the upgrade
constexpr std::size_t kMaxEndpoints = 4;
constexpr int kPilotRounds = 8;  // actions that bring about further ones

// Does this host know a way to `to`? Asks the routing table; nothing is sent.
bool has_route(const Endpoint& to) {
  sockaddr_storage address{};
  const socklen_t size = to.to(address);
  const Descriptor probe(::socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  return probe && ::connect(probe.get(), reinterpret_cast<sockaddr*>(&address), size) == 0;
}

}  // namespace

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
  for (int round = 0; round < kPilotRounds; ++round) {
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

}  // namespace rooster::tunnel
