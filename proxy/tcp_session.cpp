// The way of one raw TCP connection:
//   1. find_route()      the app as it stands, the service behind the port (or none)
//   2. claim()           waits at the wake gate, picks a machine -> Lease; a port of no service
//                        wakes nothing and takes an awake lease
//   3. connect()         to one of the machine's addresses; a failure is tried on another machine;
//                        whose connection it is goes ahead, where the port has proxy_proto
//   4. relay()           both ways, half-closes kept, until both ends have come
//   5. record()          one log line, the counters
// Every error leaves by refuse(), then 5.
#include "proxy/tcp_session.hpp"

#include "net/connect_call.hpp"
#include "net/splice.hpp"
#include "proxy/connect_machine.hpp"
#include "proxy/pg_start.hpp"
#include "proxy/wake_progress.hpp"
#include "proxy/worker_context.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace rooster::proxy {

namespace {

constexpr auto kProgressEach = std::chrono::milliseconds(250);
constexpr auto kAskEach = std::chrono::seconds(1);

// A machine that has vanished is noticed within a minute; the client may sleep (peer_timeout).
void keep_alive(int fd) {
  const int idle = 30;
  const int interval = 10;
  const int count = 3;
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

std::uint32_t microseconds(Duration duration) {
  return static_cast<std::uint32_t>(std::max(duration, Duration::zero()) /
                                    std::chrono::microseconds(1));
}

const machines::WakeState& wake_of(const machines::AppView& view, const config::Service* service) {
  return service != nullptr ? view.wake_of(*service) : view.wakes.front();
}

}  // namespace

TcpSession::TcpSession(WorkerContext& context, const TcpClient& client, PrivateTarget target)
    : context_(context),
      client_(client),
      target_(std::move(target)),
      started_(context.loop.now()),
      wall_(context.wall_now()),
      id_(context.request_ids.next(wall_)),
      claim_(context, client.waiter, *this) {
  context_.metrics.tcp_open.add(1);
}

TcpSession::~TcpSession() {
  context_.metrics.tcp_open.add(-1);
}

Task<> TcpSession::run() {
  Result<> got = find_route();
  while (got) {
    got = co_await claim();
    if (got && client_.only_wake) {
      claim_.drop();
      if (tell_connected()) client_.stream.shutdown_write();
      break;
    }
    if (got) got = co_await connect();
    if (got) got = co_await relay();
    if (got) break;
    const bool again = claim_ && service_ != nullptr && got.error().reached == Reached::No &&
                       claim_.attempts() < limits::kMaxAttempts &&
                       !client_.waiter.is_interrupted() && !has_left();
    claim_.drop();
    if (!again) break;
    claim_.counters()->retries.add();
    context_.metrics.retries.add();
    got = {};
  }
  upstream_.reset();
  claim_.drop();
  if (!got) refuse(got.error());
  record();
  co_return {};
}

// ---- 1: what the port is

bool TcpSession::matches(const machines::MachineView& machine) const {
  return (target_.machine.empty() || machine.id.value == target_.machine) &&
         (target_.region.empty() || machine.region == target_.region) &&
         (target_.group.empty() || machine.group == target_.group);
}

// Flycast goes by the service's external ports, a machine's own address by the port it listens on.
const config::Service* TcpSession::find_service(const machines::AppView& view) const {
  if (target_.kind == PrivateTarget::Kind::Service) {
    if (client_.source == nullptr) return exposed_port(*view.config, target_.port).service;
    return view.config->service_for_port(target_.port);
  }
  for (const config::Service& service : view.config->services) {
    if (service.protocol != config::Protocol::Tcp) continue;
    const bool is_its_port =
        service.internal_port == target_.port ||
        (service.internal_port == 0 && std::ranges::any_of(service.ports, [this](const auto& port) {
           return port.contains(target_.port);
         }));
    const bool is_carried = std::ranges::any_of(view.machines, [&](const auto& machine) {
      return matches(machine) && view.carries(machine, service);
    });
    if (is_its_port && is_carried) return &service;
  }
  return nullptr;
}

Result<> TcpSession::find_route() {
  if (target_.kind == PrivateTarget::Kind::Refused) return fail(Error(target_.fault, Reached::No));
  const machines::AppViewPtr& view = context_.view(target_.app);
  if (!view || view->removed) return fail(Error(Fault::NoRoute, Reached::No));
  service_ = find_service(*view);
  if (target_.kind == PrivateTarget::Kind::Service) {
    if (service_ == nullptr) return fail(Error(Fault::NoRoute, Reached::No));
    claim_.aim(view, *service_);
    return {};
  }
  if (!std::ranges::any_of(view->machines, [this](const auto& one) { return matches(one); })) {
    return fail(Error(Fault::NoHealthyMachine, Reached::No));
  }
  if (service_ == nullptr) {
    claim_.aim(view);
    return {};
  }
  claim_.aim(view, *service_, LeaseKind::Awake);
  if (!target_.machine.empty() || !target_.region.empty()) {
    const auto first = std::ranges::find_if(view->machines, [&](const auto& machine) {
      return matches(machine) && view->carries(machine, *service_) && !machine.cordoned;
    });
    if (first != view->machines.end()) wanted_ = first->id.value;
  }
  return {};
}

Steering TcpSession::steering() const {
  return {.own_region = context_.settings->region,
          .force_regions = target_.region,
          .force_instance = target_.machine,
          .force_group = target_.group};
}

// ---- 2: a machine, and a claim on it

Task<> TcpSession::claim() {
  if (service_ == nullptr) co_return co_await claim_undeclared();
  if (is_beside_others()) {
    auto waited = co_await wait_for_one();
    if (!waited) co_return waited.error();
  }
  co_return co_await claim_.acquire();
}

// Does what is wanted sleep while others of its group are awake? The gate, which knows groups,
// would let us pass.
bool TcpSession::is_beside_others() const {
  const machines::AppView& view = *claim_.view();
  if (wanted_.empty() || view.wake_of(*service_).phase != machines::WakePhase::Ready) return false;
  return std::ranges::none_of(view.machines, [&](const machines::MachineView& machine) {
    return machine.routable && matches(machine) && view.carries(machine, *service_);
  });
}

Task<> TcpSession::wait_for_one() {
  if (context_.draining) co_return Error(Fault::Draining, Reached::No);
  if (!may_wait()) co_return Error(Fault::PeerLimit, Reached::No);
  const TimePoint deadline = started_ + Duration(claim_.view()->config->rooster.wake_timeout);
  Fault fault = Fault::None;
  TimePoint ask_again{};
  while (fault == Fault::None && is_beside_others()) {
    if (context_.loop.now() >= ask_again) {  // it may have been stopping
      ask_again = context_.loop.now() + Duration(kAskEach);
      fault = context_.gate.wake_machine(
          claim_.view(),
          {.service = service_, .attempt = wake_attempt(), .now = context_.loop.now()});
      if (fault != Fault::None) break;
    }
    still_waiting(*claim_.view());
    const TimePoint look_again = context_.loop.now() + Duration(kProgressEach);
    const Woke woke = co_await client_.waiter.wait(look_again, departure());
    if (woke == Woke::Interrupted) {
      fault = client_.waiter.interrupted_by();
    } else if (has_left()) {
      fault = Fault::ClientLeft;
    } else if (context_.draining) {
      fault = Fault::Draining;
    } else if (context_.loop.now() >= deadline) {
      fault = Fault::WakeTimeout;
    } else if (auto again = find_route(); !again) {
      fault = again.error().fault;
    }
  }
  unpark();
  if (fault != Fault::None) co_return Error(fault, Reached::No);
  co_return {};
}

Task<> TcpSession::claim_undeclared() {
  const machines::AppView& view = *claim_.view();
  for (std::size_t i = 0; i < view.machines.size(); ++i) {
    const machines::MachineView& machine = view.machines[i];
    if (!machine.awake || !machine.netns || !machine.load || !matches(machine)) continue;
    if (claim_.acquire_awake(i)) co_return {};
  }
  co_return Error(Fault::UndeclaredPort, Reached::No);
}

bool TcpSession::may_wait() {
  PeerLoad* const load = client_.source != nullptr && client_.source->peer
                             ? client_.source->peer->load.get()
                             : nullptr;
  is_waiting_ = load != nullptr;
  if (!is_waiting_ || load->try_wait()) return true;
  is_waiting_ = false;
  return false;
}

void TcpSession::unpark() {
  if (std::exchange(is_waiting_, false)) client_.source->peer->load->stop_waiting();
}

// A call is told whenever the wake has come further.
TimePoint TcpSession::still_waiting(const machines::AppView& view) {
  if (!client_.is_call) return kNever;
  std::string line = wake_progress(view, wake_of(view, service_), is_beside_others());
  if (line != told_ && !client_.stream.has_pending()) {
    client_.stream.write(net::encode_progress(line));
    told_ = std::move(line);
  }
  return context_.loop.now() + kProgressEach;
}

// ---- 3: a connection

Task<> TcpSession::connect() {
  const machines::MachineView& machine = *claim_.machine();
  const std::uint16_t port =
      service_ != nullptr ? machine.port_for(*service_, target_.port) : target_.port;
  auto opened = co_await open_connection(
      context_, client_.waiter, machine,
      {.port = port,
       .source = client_.source != nullptr ? client_.source->address : IpAddress(),
       .is_declared = service_ != nullptr});
  if (!opened) {
    if (opened.error().fault == Fault::UpstreamRefused) claim_.connect_failed();
    co_return opened.error();
  }
  upstream_ = std::move(*opened);
  keep_alive(upstream_->stream.fd());
  if (const std::string header = proxy_header(); !header.empty()) upstream_->stream.write(header);
  connected_at_ = context_.loop.now();
  co_return {};
}

// "": the app's port has no proxy_proto, or the machine itself was asked for.
std::string TcpSession::proxy_header() const {
  if (target_.kind != PrivateTarget::Kind::Service || service_ == nullptr) return {};
  const auto port = std::ranges::find_if(
      service_->ports, [this](const config::Port& one) { return one.contains(target_.port); });
  if (port == service_->ports.end() || !port->has(config::Handler::ProxyProto)) return {};
  return port->proxy_proto_version == "v2" ? make_proxy_v2(client_.ends)
                                           : make_proxy_v1(client_.ends);
}

bool TcpSession::tell_connected() {
  if (!client_.is_call) return true;
  const machines::MachineView& machine = *claim_.machine();
  std::string remote;
  if (machine.private_address != IpAddress()) {
    remote = Endpoint{.address = machine.private_address, .port = target_.port}.to_string();
  }
  return client_.stream.write(net::encode_connected(remote));
}

// ---- 4: both ways at once

Task<> TcpSession::relay() {
  if (!tell_connected()) co_return Error(Fault::ClientLeft);
  Tunnel tunnel({.context = context_,
                 .client = client_.stream,
                 .app = upstream_->stream,
                 .from_client = client_.input,
                 .waiter = client_.waiter,
                 .load = claim_.machine()->load.get(),
                 .idle = claim_.view()->config->rooster.tunnel_idle,
                 .settled = [this] { claim_.become_tunnel(); }});
  auto over = co_await tunnel.run();
  if (!over) co_return over.error();
  end_ = *over;
  fault_ = end_.fault;
  if (fault_ == Fault::None && !end_.app_done && end_.app_broke) fault_ = Fault::UpstreamReset;
  if (fault_ == Fault::None && !end_.app_done) fault_ = Fault::ClientLeft;
  // What was cut must not look like an end to the one who reads it.
  if (!end_.app_done) net::reset_at_close(client_.stream);
  if (!end_.client_done) net::reset_at_close(upstream_->stream);
  co_return {};
}

// ---- the exit of every error, and the record

void TcpSession::refuse(const Error& error) {
  claim_.leave_gate();  // a grant that was not used is the next one's
  fault_ = error.fault;
  if (client_.is_postgres && connected_at_ == TimePoint{}) {
    const FaultText text = describe(fault_);
    client_.stream.write(
        fault_ == Fault::TlsRequired
            ? make_pg_error(kPgNotAuthorized, "connections here need TLS", text.hint)
            : make_pg_error(kPgCannotConnectNow,
                            "the app is not reachable: " + std::string(text.token), text.hint));
    return client_.stream.shutdown_write();
  }
  if (!client_.is_call) return net::reset_at_close(client_.stream);
  std::chrono::seconds retry_after{};
  if (claim_.retry_at() != TimePoint{} && claim_.retry_at() != kNever) {
    const Duration left = remaining(claim_.retry_at(), context_.loop.now());
    retry_after = std::max(std::chrono::ceil<std::chrono::seconds>(left), std::chrono::seconds(1));
  }
  client_.stream.write(net::encode_connect_refusal(error.fault, "", retry_after));
  client_.stream.shutdown_write();
}

void TcpSession::record() {
  context_.metrics.count_session(claim_.counters(), fault_, end_.bytes_in, end_.bytes_out);
  std::array<char, 46> address;
  const bool by_operator =
      client_.source != nullptr && client_.source->who == PrivateSource::Who::Operator;
  const std::string_view from =
      by_operator
          ? std::string_view(client_.source->name)
          : std::string_view{address.data(), client_.ends.from.address.write(address.data())};
  AccessRecord line{.time = wall_,
                    .request_id = id_.view(),
                    .client = from,
                    .method = client_.is_call ? "CONNECT" : "TCP",
                    .host = client_.source != nullptr ? client_.source->name : client_.name,
                    .target = client_.asked,
                    .bytes_in = end_.bytes_in,
                    .bytes_out = end_.bytes_out,
                    .total_us = microseconds(context_.loop.now() - started_),
                    .queue_us = microseconds(claim_.waited()),
                    .fault = fault_,
                    .tls = client_.tls,
                    .version = HttpVersion::Tcp,
                    .attempts = static_cast<std::uint8_t>(std::min(claim_.attempts(), 255)),
                    .waited = claim_.did_wait()};
  if (claim_.view()) line.app = claim_.view()->config->name;
  if (const machines::MachineView* machine = claim_.machine()) {
    line.machine = machine->id.value;
    line.region = machine->region;
    if (claim_.did_wait() && machine->timeline) {
      const machines::WakeTimeline& wake = *machine->timeline;
      line.wake = {.queue_us = microseconds(wake.queued - started_),
                   .start_us = microseconds(wake.started - started_),
                   .ready_us = microseconds(wake.ready - started_),
                   .first_byte_us = microseconds(connected_at_ - started_)};
    }
  }
  context_.access_log.push(line);
}

}  // namespace rooster::proxy
