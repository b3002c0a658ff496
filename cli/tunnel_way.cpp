#include "cli/tunnel_way.hpp"

#include "cli/proxy_texts.hpp"
#include "cli/run_task.hpp"
#include "cli/state_folder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <fstream>
#include <iterator>

namespace rooster::cli {
namespace {

using namespace std::chrono_literals;
using Kind = tunnel::LinkReport::Kind;

constexpr std::uint16_t kDnsPort = 53;
// Where no datagram is answered, to try the WebSocket alone.
constexpr const char* kNobody = "127.0.0.1";
constexpr std::uint16_t kDiscardPort = 9;
constexpr auto kKeep = 1s;  // how late the slot may learn of an initiation
constexpr auto kStopTime = 2s;
constexpr Duration kFreshDial = 100ms;
constexpr Duration kFreshDials = 400ms;
constexpr auto kExplains = 15s;  // a loss of the link explains what broke so soon after it

std::string took(Duration duration) {
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
  if (milliseconds < 10'000) return fmt::format("{}ms", milliseconds);
  return duration_text(std::chrono::duration_cast<std::chrono::seconds>(duration));
}

const char* name_of(tunnel::Carrier carrier) {
  return carrier == tunnel::Carrier::Udp ? "UDP" : "WebSocket";
}

std::optional<tunnel::HostPort> parse_endpoint(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  tunnel::HostPort endpoint;
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  endpoint.host = std::string(host);
  const std::string_view digits = text.substr(colon + 1);
  const auto [end, wrong] =
      std::from_chars(digits.data(), digits.data() + digits.size(), endpoint.port);
  if (wrong != std::errc() || end != digits.data() + digits.size() || host.empty()) {
    return std::nullopt;
  }
  return endpoint;
}

}  // namespace

std::string link_line(const tunnel::LinkReport& report, bool verbose) {
  const std::string detail = report.detail.empty() ? "" : " (" + report.detail + ")";
  switch (report.kind) {
    case Kind::Connected:
      return verbose ? fmt::format("tunnel up after {}, over {}", took(report.after),
                                   name_of(report.carrier))
                     : std::string();
    case Kind::Unanswered:
      return "the gateway has not answered yet" + detail + "; still trying";
    case Kind::Lost:
      return fmt::format("no answer from the gateway for {}; reconnecting", took(report.after));
    case Kind::Reconnected:
      return fmt::format("the tunnel works again, after {}", took(report.after));
    case Kind::Woke:
      return fmt::format("this machine was asleep for {}; the tunnel works again",
                         took(report.after));
    case Kind::ToWebsocket:
      return "UDP does not get through; going on by WebSocket";
    case Kind::ToUdp:
      return "UDP gets through again; going on by UDP";
    case Kind::WebsocketFailed:
      return verbose ? "WebSocket: " + report.detail : std::string();
    case Kind::Unresolved:
      return "the gateway's name does not resolve" + detail;
  }
  return {};
}

TunnelWay::TunnelWay(Loop& loop, const DeveloperOptions& options, Tell tell)
    : loop_(loop),
      stack_(tunnel::parse_stack_choice(options.stack).value_or(tunnel::StackChoice::Auto)),
      verbose_(options.verbose),
      tell_(std::move(tell)),
      keeper_(loop, [this] { keep_last_sent(); }) {}

Result<std::unique_ptr<TunnelWay>> TunnelWay::by_login(Loop& loop, const DeveloperOptions& options,
                                                       Login login, Tell tell) {
  auto slot = Slot::take(login);
  if (!slot) return fail(slot.error());
  auto gateway = GatewayClient::create(loop, std::move(login));
  if (!gateway) return fail(gateway.error());
  std::unique_ptr<TunnelWay> way(new TunnelWay(loop, options, std::move(tell)));
  way->gateway_.emplace(std::move(*gateway));
  way->slot_.emplace(std::move(*slot));
  return way;
}

Result<std::unique_ptr<TunnelWay>> TunnelWay::by_file(Loop& loop, const DeveloperOptions& options,
                                                      Tell tell) {
  std::ifstream in(options.peer_file, std::ios::binary);
  if (!in) return fail(Fault::Internal, options.peer_file + ": can't be read");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  auto file = parse_peer_file(text);
  if (!file) {
    return fail(file.error().fault, options.peer_file + ": " + file.error().detail);
  }
  if (file->enrol) {
    if (file->enrol->folder.empty()) {
      const auto state = state_folder();
      if (!state) return fail(state.error());
      file->enrol->folder =
          *state + '/' + file->enrol->node_name() + "/file-" + file->enrol->token_id();
    }
    return by_login(loop, options, std::move(*file->enrol), std::move(tell));
  }
  auto lock = lock_key(file->key.public_key());
  if (!lock) return fail(lock.error());
  std::unique_ptr<TunnelWay> way(new TunnelWay(loop, options, std::move(tell)));
  way->key_lock_ = std::move(*lock);
  way->key_ = file->key;
  way->membership_ = file->membership;
  return way;
}

TunnelWay::~TunnelWay() {
  close_now();
}

// lwIP's stack may only go while its loop turns no more.
void TunnelWay::close_now() {
  if (!client_) return;
  keep_last_sent();
  keeper_.cancel();
  bool is_stopped = false;
  client_->stop([&is_stopped] { is_stopped = true; });
  const TimePoint until = Clock::now() + kStopTime;
  while (!is_stopped && Clock::now() < until) loop_.run_for(10ms);
  client_.reset();
}

void TunnelWay::keep_last_sent() {
  if (!client_) return;
  const tunnel::Tai64n now = client_->last_sent();
  if (slot_ && now != last_sent_) slot_->keep(now);
  last_sent_ = now;
  keeper_.set(Clock::now() + kKeep);
}

void TunnelWay::on_report(const tunnel::LinkReport& report) {
  if (opener_ != nullptr) opener_->notify();
  if (!report.detail.empty()) trouble_ = report.detail;
  if (report.kind == Kind::Lost) down_since_ = Clock::now() - report.after;
  if (report.kind == Kind::Reconnected || report.kind == Kind::Woke) {
    down_since_ = kNever;
    up_again_ = Clock::now();
    was_down_ = report.kind == Kind::Woke
                    ? fmt::format("this machine was asleep for {}", took(report.after))
                    : fmt::format("the tunnel was down for {}", took(report.after));
  }
  if (report.kind == Kind::Unanswered) {
    is_unanswered_ = true;
    // With a login a fresh key is tried at once, silently.
    if (gateway_ && opener_ != nullptr) return;
  }
  if (const std::string line = link_line(report, verbose_); !line.empty() && tell_) tell_(line);
}

Task<> TunnelWay::enrol(Waiter& waiter, TimePoint deadline) {
  auto done = co_await slot_->enrol(*gateway_, waiter, deadline);
  if (!done) {
    Error error = done.error();
    if (error.fault == Fault::BadToken) {
      error.detail +=
          "; the login is not valid any more: ask for a new line of rooster tokens create";
    }
    co_return error;
  }
  co_return {};
}

Result<> TunnelWay::connect() {
  if (slot_) {
    key_ = slot_->key();
    membership_ = slot_->membership();
    last_sent_ = slot_->last_sent();
  }
  const auto endpoint = parse_endpoint(membership_.endpoint);
  if (!endpoint) {
    return fail(Fault::Internal, "\"" + membership_.endpoint + "\" is no gateway's host and port");
  }
  tunnel::ClientOptions options{.key = key_,
                                .address = membership_.address,
                                .gateway = membership_.gateway,
                                .preshared = membership_.preshared,
                                .allowed_ips = {tunnel::Prefix::of(membership_.network_prefix, 48)},
                                .endpoints = {*endpoint},
                                .last_sent = last_sent_,
                                .stack = stack_};
  if (gateway_) {
    const Login& login = gateway_->login();
    if (!login.connect_to.empty() && endpoint->host == login.host) {
      options.endpoints.front().host = login.connect_to;
    }
    if (links_ != Links::Udp) {
      options.websocket =
          tunnel::HostPort{login.connect_to.empty() ? login.host : login.connect_to, login.port};
    }
    options.websocket_name = login.host;
    options.tls = &gateway_->tls();
  }
  if (links_ == Links::Websocket) options.endpoints = {{kNobody, kDiscardPort}};
  auto client = tunnel::Client::create(
      loop_, std::move(options), [this](const tunnel::LinkReport& report) { on_report(report); });
  if (!client) return fail(client.error());
  client_ = std::move(*client);
  is_unanswered_ = false;
  client_->start();
  keep_last_sent();
  return {};
}

Task<> TunnelWay::open(Waiter& waiter, TimePoint deadline) {
  if (!client_) {
    if (slot_ && !slot_->is_enrolled()) {
      is_fresh_ = true;
      if (auto done = co_await enrol(waiter, deadline); !done) co_return done.error();
    }
    if (auto connected = connect(); !connected) co_return connected.error();
  }
  wants_fresh_key_ = false;
  opener_ = &waiter;
  while (!client_->is_up()) {
    wants_fresh_key_ = is_unanswered_ && gateway_ && !is_fresh_;
    if (wants_fresh_key_ && may_begin_anew_) break;
    const Woke woke = co_await waiter.wait(deadline);
    if (woke == Woke::Interrupted || Clock::now() >= deadline) break;
  }
  opener_ = nullptr;
  if (waiter.is_interrupted()) co_return Error(waiter.interrupted_by());
  keep_last_sent();
  if (client_->is_up()) co_return {};
  co_return Error(Fault::UpstreamTimeout, Reached::No,
                  fmt::format("no answer from the gateway at {}{}; rooster proxy --check shows "
                              "which step fails",
                              membership_.endpoint, trouble_.empty() ? "" : " (" + trouble_ + ")"));
}

Result<> TunnelWay::open_now(Loop& loop, Duration patience) {
  const TimePoint deadline = Clock::now() + patience;
  const auto attempt = [this, deadline](Waiter& waiter) { return open(waiter, deadline); };
  may_begin_anew_ = true;
  auto opened = run_task<void>(loop, attempt);
  may_begin_anew_ = false;
  if (opened || !wants_fresh_key_) return opened;
  // The gateway may have forgotten this key, or a clock went back: a fresh one mends both. Where
  // none can be had, the old one goes on trying.
  const auto enrolled =
      run_task<void>(loop, [this, deadline](Waiter& waiter) { return enrol(waiter, deadline); });
  if (enrolled && !client_->is_up()) {
    close_now();
    is_fresh_ = true;
  }
  return run_task<void>(loop, attempt);
}

Task<std::unique_ptr<Stream>> TunnelWay::dial(std::uint16_t port, Waiter& waiter,
                                              TimePoint deadline) {
  if (!client_) co_return Error(Fault::Internal, "the tunnel is not open");
  if (!client_->is_up()) {
    const auto up = co_await client_->wait_until_up(waiter, deadline);
    if (!up) {
      Error error = up.error();
      error.detail = "the tunnel is down" + (error.detail.empty() ? "" : ": " + error.detail);
      co_return error;
    }
  }
  const Endpoint to{membership_.dns, port};
  Result<tunnel::Dialled> dialled = fail(Fault::UpstreamConnectTimeout);
  // The gateway's routes to a peer that it has just made may come a moment after its key, and TCP
  // repeats a lost SYN only after a second.
  for (Duration patience = kFreshDial; is_fresh_ && patience <= kFreshDials; patience *= 2) {
    dialled = co_await client_->dial(to, waiter, std::min(deadline, Clock::now() + patience));
    if (dialled || dialled.error().fault != Fault::UpstreamConnectTimeout) break;
  }
  if (!dialled && dialled.error().fault == Fault::UpstreamConnectTimeout) {
    dialled = co_await client_->dial(to, waiter, deadline);
  }
  is_fresh_ = false;
  if (!dialled) {
    Error error = dialled.error();
    // The gateway takes every connection, and resets those that are too many.
    if (error.fault == Fault::UpstreamRefused) error.fault = Fault::UpstreamReset;
    co_return error;
  }
  auto stream = std::make_unique<Stream>(loop_, std::move(dialled->fd));
  if (dialled->reset) stream->watch_reset(dialled->reset);
  co_return stream;
}

Task<std::unique_ptr<Stream>> TunnelWay::dial_api(Waiter& waiter, TimePoint deadline) {
  return dial(net::kPrivateApiPort, waiter, deadline);
}

Task<std::unique_ptr<Stream>> TunnelWay::dial_dns(Waiter& waiter, TimePoint deadline) {
  return dial(kDnsPort, waiter, deadline);
}

std::string TunnelWay::token() const {
  return gateway_ ? gateway_->login().token : std::string();
}

std::string TunnelWay::describe() const {
  if (!client_) return "a tunnel to " + membership_.endpoint;
  return fmt::format("a tunnel to {} over {}, {}", membership_.endpoint,
                     name_of(client_->carrier()), client_->stack_explanation());
}

std::string TunnelWay::why_lost() const {
  if (down_since_ != kNever) return "the gateway does not answer";
  if (up_again_ != TimePoint{} && Clock::now() - up_again_ < kExplains) return was_down_;
  return {};
}

std::optional<WallTime> TunnelWay::renewed_at() const {
  return client_ ? client_->statistics().last_handshake : std::nullopt;
}

void TunnelWay::slept() {
  if (client_) client_->poke();
}

}  // namespace rooster::cli
