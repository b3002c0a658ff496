// The way of one request (docs/life-of-a-request.md):
//   1. vet()             what the proxy answers by itself: OPTIONS *, a host of another certificate
//   2. route()           host and port -> app, service; force_https
//   3. acquire()         waits at the wake gate until the app has a ready machine, picks one ->
//   Lease
//   4. connect()         a pooled connection to it, or a new one
//   5. relay()           the head, both bodies at once, the response; upgrades become a Tunnel
//   after the 101
//   6. release()         the connection goes back, the lease is dropped
//   7. record()          one log line, the counters, the wake's timeline
// Steps 3 to 6 repeat only while may_retry() says so. Every error leaves by refuse(), then 7.
#include "proxy/exchange.hpp"

#include "net/dial.hpp"
#include "proxy/error_response.hpp"
#include "proxy/h1_upstream.hpp"
#include "proxy/may_retry.hpp"
#include "proxy/pick_machine.hpp"
#include "proxy/tunnel.hpp"
#include "proxy/worker_context.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace rooster::proxy {

namespace {

constexpr int kPiecesPerTurn = 16;  // a bulk transfer lets others in after 1 MiB
constexpr int kPicksPerTurn = 8;    // lost races for a lease before the gate decides

class Exchange {
 public:
  Exchange(WorkerContext& context, ClientSide& client, Waiter& waiter, const RequestHead& head)
      : context_(context),
        client_(client),
        waiter_(waiter),
        head_(&head),
        started_(context.loop.now()),
        wall_(context.wall_now()),
        id_(context.request_ids.next(wall_)),
        node_([&waiter] { waiter.notify(); }) {}

  Task<ExchangeEnd> run();

 private:
  Result<bool> vet();
  Result<> find_route();
  Result<bool> route();
  Task<> acquire();
  Task<> wait_at_gate();
  bool try_pick();
  Task<> connect();
  Task<> open_connection(const Endpoint& endpoint, std::uint16_t port);
  Steering steering() const;
  Task<> relay();
  Task<> tunnel();
  Task<> drain_client();
  void release();
  void refuse(const Error& error);
  void record();

  bool pump_request();
  Result<bool> pump_head();
  Result<bool> pump_response();
  Result<> check_pace(Woke woke);
  TimePoint relay_deadline() const;
  Forwarding forwarding();
  bool try_read_rest();
  bool waits_for_client() const;
  machines::Arriving arriving() const;
  std::string server_timing() const;
  Fault wait_fault() const;
  MetricSeconds seconds() const { return metric_seconds(context_.loop.now()); }
  std::uint32_t since_start(TimePoint when) const;

  WorkerContext& context_;
  ClientSide& client_;
  Waiter& waiter_;
  const RequestHead* head_;
  const TimePoint started_;
  const WallTime wall_;
  const RequestId id_;
  machines::WaitNode node_;

  Route route_{};
  machines::AppViewPtr view_;  // pinned from the lease on
  const machines::MachineView* machine_ = nullptr;
  machines::Lease lease_;
  std::optional<H1Upstream> upstream_;
  PickHistory tried_;
  AppCounters* counters_ = nullptr;

  std::array<char, 46> peer_text_;
  std::array<char, 46> client_text_;
  std::string_view peer_;
  std::string default_host_;  // for a request of HTTP/1.0 without Host
  std::string_view client_address_;
  IpAddress client_ip_;
  TimePoint retry_at_{};
  TimePoint sent_at_{};
  TimePoint head_at_{};
  TimePoint last_progress_{};
  TimePoint pace_began_{};
  std::uint64_t pace_bytes_ = 0;
  std::uint64_t bytes_in_ = 0;
  std::uint64_t bytes_out_ = 0;
  Duration waited_{};
  bool did_wait_ = false;
  bool holds_slot_ = false;  // one of the machine's upstream connections is ours
  bool request_done_ = false;
  bool request_stuck_ = false;  // the app takes no more of the body
  bool response_begun_ = false;
  bool response_done_ = false;
  bool response_reusable_ = false;
  bool is_upgrade_ = false;
  bool more_to_do_ = false;
  int interims_ = 0;
  int attempts_ = 0;
  std::uint16_t status_ = 0;
  Fault fault_ = Fault::None;
  ExchangeEnd end_;
};

Task<ExchangeEnd> Exchange::run() {
  Result<bool> answered = vet();
  if (answered && !*answered) answered = route();
  if (!answered) {
    refuse(answered.error());
  } else if (!*answered) {
    while (true) {
      auto got = co_await acquire();
      if (got) {
        ++attempts_;
        got = co_await connect();
        if (got) got = co_await relay();
        if (got && is_upgrade_) got = co_await tunnel();
      }
      if (got) break;
      const bool had_lease = static_cast<bool>(lease_);
      const BodyState body = client_.body_is_replayable() ? BodyState::Replayable : BodyState::Gone;
      const ResponseState response =
          upstream_ && upstream_->has_received() ? ResponseState::Begun : ResponseState::Nothing;
      const bool again =
          had_lease && !response_begun_ && !waiter_.is_interrupted() &&
          may_retry(got.error(), head_->method, body, response,
                    {.made = attempts_, .forced = !steering().force_instance.empty()});
      release();
      if (!again) {
        refuse(got.error());
        break;
      }
      counters_->retries.add();
      context_.metrics.retries.add();
      client_.rewind_body();
      request_done_ = request_stuck_ = false;
      bytes_in_ = 0;
    }
  }
  if (!end_.must_cut && client_.flush() && !client_.can_take()) co_await drain_client();
  record();
  end_.request_read = request_done_ || try_read_rest();
  co_return end_;
}

// ---- 1, 2: what needs no machine

Result<bool> Exchange::vet() {
  peer_ = {peer_text_.data(), client_.facts().peer_address.write(peer_text_.data())};
  client_address_ = peer_;
  if (head_->asterisk) {
    status_ = 200;
    end_.keep_alive = head_->keep_alive;
    client_.send_own(write_options_response(id_.view(), !head_->keep_alive));
    return true;
  }
  return false;
}

Result<> Exchange::find_route() {
  const std::uint16_t port = client_.facts().port;
  auto found = head_->has_host ? context_.router.match(head_->host_name, port)
                               : context_.router.match_without_host(port);
  if (!found) return fail(found.error());
  route_ = *found;
  view_ = context_.view(route_.app);
  tried_.clear();
  if (!head_->has_host) default_host_ = view_->config->name + "." + context_.settings->domain;
  return {};
}

Result<bool> Exchange::route() {
  const ClientFacts& facts = client_.facts();
  client_ip_ = facts.peer_address;
  if (facts.trusted) {
    client_ip_ =
        proxy::client_address(facts.peer_address, *head_, context_.settings->trusted_proxies);
    client_address_ = {client_text_.data(), client_ip_.write(client_text_.data())};
  }
  auto found = find_route();
  if (!found) return fail(found.error());
  counters_ = &context_.metrics.apps.of(route_.app, seconds());
  if (head_->has_host && !client_.covers(head_->host_name)) return fail(Fault::Misdirected);
  if (route_.port->force_https && !is_https(*head_, forwarding())) {
    status_ = 301;
    end_.keep_alive = head_->keep_alive;
    std::string target{head_->path};
    if (head_->has_query) target.append("?").append(head_->query);
    client_.send_own(write_https_redirect(head_->host_name, target, context_.settings->https_port,
                                          id_.view(), !head_->keep_alive));
    return true;
  }
  return false;
}

// ---- 3: a ready machine, and a claim on it

machines::Arriving Exchange::arriving() const {
  const auto* agent = head_->find(FieldKind::UserAgent);
  const Duration patience = view_->config->rooster.wake_timeout;
  return {.service = route_.service,
          .attempt = {.source = client_ip_,
                      .method = head_->method_text,
                      .path = head_->path,
                      .user_agent = agent != nullptr ? agent->value : std::string_view()},
          .now = context_.loop.now(),
          .deadline = started_ + patience,
          .bytes = head_->head_bytes};
}

Task<> Exchange::acquire() {
  using Kind = machines::Arrival::Kind;
  bool arrived = attempts_ > 0;
  for (int picks = 0;; ++picks) {
    machines::Arrival arrival;
    if (!arrived) {
      arrival = context_.gate.arrive(node_, view_, arriving());
      arrived = true;
    }
    if (arrival.kind == Kind::Pass && picks < kPicksPerTurn) {
      if (try_pick()) {
        node_.leave();
        co_return {};
      }
      arrival = context_.gate.wait_for_slot(node_, view_, arriving());
      if (arrival.kind == Kind::Pass) continue;
    }
    if (arrival.kind == Kind::Refused) {
      retry_at_ = arrival.retry_at;
      co_return Error(arrival.fault, Reached::No);
    }
    if (arrival.kind == Kind::Pass) co_return Error(Fault::NoHealthyMachine, Reached::No);
    if (context_.draining) {  // nobody begins to wait any more
      node_.leave();
      co_return Error(Fault::Draining, Reached::No);
    }
    auto waited = co_await wait_at_gate();
    if (!waited) co_return waited.error();
    picks = 0;
    // The app may have been changed or removed meanwhile: what counts is how it stands now.
    auto again = find_route();
    if (!again) co_return again.error();
  }
}

// Held: the head's memory is lent back meanwhile, and a client that leaves stops counting at once.
Task<> Exchange::wait_at_gate() {
  const TimePoint began = context_.loop.now();
  // The coordinator gives up at wake_timeout and says why; this deadline is for the case that it
  // says nothing.
  const TimePoint deadline =
      started_ + Duration(view_->config->rooster.wake_timeout) + 2 * Duration(limits::kTick);
  const bool half_close = view_->config->rooster.half_close;
  did_wait_ = true;
  counters_->holds.add();
  counters_->waiting.add(1);
  context_.metrics.waiting.add(1);
  client_.park();
  Result<> result;
  while (node_.state() == machines::WaitNode::State::Queued) {
    const Woke woke = co_await waiter_.wait(deadline, client_.interest(false, false, !half_close));
    if (woke == Woke::Interrupted) {
      result = fail(waiter_.interrupted_by());
    } else if (client_.is_gone(!half_close)) {
      result = fail(Fault::ClientLeft);
    } else if (woke == Woke::Deadline) {
      result = fail(Error(wait_fault(), Reached::No));
    } else {
      continue;
    }
    break;
  }
  head_ = &client_.unpark();
  context_.metrics.waiting.add(-1);
  counters_ = &context_.metrics.apps.of(route_.app, seconds());
  counters_->waiting.add(-1);
  const Duration took = context_.loop.now() - began;
  waited_ += took;
  counters_->hold_us.add(static_cast<std::uint64_t>(took / std::chrono::microseconds(1)));
  if (result && node_.state() == machines::WaitNode::State::Failed) {
    retry_at_ = node_.retry_at();
    result = fail(Error(node_.fault(), Reached::No));
  }
  if (!result) {
    node_.leave();
    co_return result.error();
  }
  co_return {};
}

// Why the wait was in vain, as far as this worker knows.
Fault Exchange::wait_fault() const {
  const machines::AppViewPtr& now = context_.view(route_.app);
  switch (now->wakes[now->group_of(*route_.service)].phase) {
    case machines::WakePhase::Ready:
      return Fault::CapacityTimeout;
    case machines::WakePhase::Stopping:
      return Fault::StopPending;
    case machines::WakePhase::Asleep:
    case machines::WakePhase::Waking:
    case machines::WakePhase::Failed:
      return Fault::WakeTimeout;
  }
  return Fault::WakeTimeout;
}

// What the client asks for by the documented headers, and the region we are in.
Steering Exchange::steering() const {
  Steering wishes{.own_region = context_.settings->region};
  for (const Field& field : head_->fields()) {
    switch (field.kind) {
      case FieldKind::FlyPreferRegion:
        wishes.prefer_regions = field.value;
        break;
      case FieldKind::FlyForceRegion:
        wishes.force_regions = field.value;
        break;
      case FieldKind::FlyPreferInstanceId:
        wishes.prefer_instance = field.value;
        break;
      case FieldKind::FlyForceInstanceId:
        wishes.force_instance = field.value;
        break;
      default:
        break;
    }
  }
  return wishes;
}

bool Exchange::try_pick() {
  auto choice = pick_machine(*view_, *route_.service, tried_, context_.random(), steering());
  if (!choice && choice.error() == NoMachine::AllTried) {
    // No other machine is left: a new connection to the same one is the next best attempt.
    tried_.clear();
    choice = pick_machine(*view_, *route_.service, tried_, context_.random(), steering());
  }
  if (!choice) return false;
  machine_ = &view_->machines[*choice];
  machines::MachineLoad& load = *machine_->load;
  lease_ =
      machines::Lease::try_take(load, machine_->load_generation,
                                machines::lease_limit(*machine_, *route_.service), &context_.gate);
  if (!lease_) return false;
  tried_.add(*choice);
  holds_slot_ = load.try_open_connection();
  counters_->concurrency.add(1);
  return true;
}

// ---- 4: a connection

Task<> Exchange::connect() {
  const std::uint16_t port = machine_->port_for(*route_.service, client_.facts().port);
  const UpstreamKey key{machine_->load.get(), machine_->load_generation, port};
  const Duration max_age = is_idempotent(head_->method) ? Duration(limits::kPoolIdle)
                                                        : Duration(limits::kPoolIdleNonIdempotent);
  // Where one pooled connection was stale the others may be as well: a second attempt opens its
  // own.
  UpstreamConnectionPtr pooled;
  if (attempts_ == 1) pooled = context_.pool.take(key, context_.loop.now(), max_age);
  if (pooled) {
    context_.metrics.pool_hits.add();
    upstream_.emplace(std::move(pooled), context_.scratch);
    co_return {};
  }
  context_.metrics.pool_misses.add();
  const Endpoint endpoint = machine_->endpoint(*route_.service, client_.facts().port);
  co_return co_await open_connection(endpoint, port);
}

Task<> Exchange::open_connection(const Endpoint& endpoint, std::uint16_t port) {
  auto fd = net::start_connect(endpoint);
  if (!fd && fd.error().fault == Fault::DescriptorsExhausted) {
    context_.pool.drop_oldest(16);
    fd = net::start_connect(endpoint);
  }
  if (!fd) co_return fd.error();
  const int on = 1;
  ::setsockopt(fd->get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  context_.metrics.upstream_connects.add();
  auto connection =
      std::make_unique<UpstreamConnection>(context_.loop, std::move(*fd), std::uint8_t{0},
                                           machine_->load, machine_->load_generation, port);
  auto done = co_await net::connected(connection->stream, waiter_,
                                      context_.loop.now() + limits::kConnectTimeout);
  if (!done) co_return done.error();
  upstream_.emplace(std::move(connection), context_.scratch);
  co_return {};
}

// ---- 5: both ways at once

Forwarding Exchange::forwarding() {
  const ClientFacts& facts = client_.facts();
  return {.peer_address = peer_,
          .client_address = client_address_,
          .trusted = facts.trusted,
          .tls = facts.tls,
          .port = facts.local_port,
          .region = context_.settings->region,
          .request_id = id_.view(),
          .default_host = default_host_};
}

Task<> Exchange::relay() {
  interims_ = 0;
  last_progress_ = pace_began_ = sent_at_ = context_.loop.now();
  pace_bytes_ = 0;
  if (!upstream_->send_head(*head_, forwarding()))
    co_return Error(Fault::HeadTooLarge, Reached::No);
  while (true) {
    more_to_do_ = false;
    if (!pump_request()) co_return Error(fault_);
    if (!response_begun_) {
      auto begun = pump_head();
      if (!begun) co_return begun.error();
      if (is_upgrade_) co_return {};
    }
    if (response_begun_) {
      auto done = pump_response();
      if (!done) co_return done.error();
      if (*done) {
        release();
        co_return {};
      }
    }
    if (!client_.flush() || client_.is_gone(false)) co_return Error(Fault::ClientLeft);
    upstream_->park();
    if (more_to_do_) waiter_.notify();
    const bool wants_request = !request_done_ && !request_stuck_ && upstream_->can_take();
    const Woke woke = co_await waiter_.wait(
        relay_deadline(), client_.interest(wants_request, !client_.can_take(), false),
        upstream_->interest(!response_begun_ || client_.can_take(),
                            !request_stuck_ && !upstream_->can_take()));
    if (woke == Woke::Interrupted) co_return Error(waiter_.interrupted_by());
    auto in_time = check_pace(woke);
    if (!in_time) co_return in_time.error();
  }
}

// Client to app, as far as both go. False: the request is broken (`fault_`).
bool Exchange::pump_request() {
  using enum BodyPiece::State;
  int pieces = 0;
  while (!request_done_ && !request_stuck_ && upstream_->can_take()) {
    if (++pieces > kPiecesPerTurn) {
      more_to_do_ = true;
      break;
    }
    const BodyPiece piece = client_.next_body();
    if (piece.state == Failed) {
      fault_ = piece.fault;
      return false;
    }
    bytes_in_ += piece.bytes.size();
    pace_bytes_ += piece.bytes.size();
    if (piece.state != Later) last_progress_ = context_.loop.now();
    bool taken = upstream_->offer_body(piece.bytes);
    if (piece.state == End) {
      taken = taken && upstream_->finish_body(client_.request_trailers());
      request_done_ = true;
    }
    if (!taken) request_stuck_ = true;
    if (piece.state == Later) break;
  }
  // An app that takes no more may have answered already: its response is read first.
  if (!upstream_->flush()) request_stuck_ = true;
  return true;
}

// Towards the response's head; interim ones are passed on. True: it is here and was encoded for the
// client.
Result<bool> Exchange::pump_head() {
  ResponseHead& response = context_.scratch.response;
  const Asked asked{.method = head_->method, .upgrade = head_->upgrade};
  while (true) {
    const Parsed parsed = upstream_->next_head(asked, response);
    if (parsed.status == ParseStatus::NeedMore) return false;
    if (parsed.status == ParseStatus::Invalid) {
      const bool sent = upstream_->has_sent();
      return fail(Error(parsed.fault, sent ? Reached::Maybe : Reached::No));
    }
    last_progress_ = context_.loop.now();
    if (!response.is_interim()) break;
    if (++interims_ > limits::kMaxInterimResponses) return fail(Fault::UpstreamBadResponse);
    if (!client_.send_interim(response)) return fail(Fault::ClientLeft);
  }
  head_at_ = context_.loop.now();
  status_ = response.status;
  const config::HttpOptions& options = route_.port->http_options;
  const std::string timing = did_wait_ ? server_timing() : std::string();
  const ResponseRules rules{.client_minor = head_->http_minor,
                            .keep_alive = head_->keep_alive && !context_.draining,
                            .method = head_->method,
                            .pristine = options.pristine,
                            .headers = options.response_headers,
                            .request_id = id_.view(),
                            .date = context_.http_date(),
                            .server_timing = timing};
  if (!client_.send_head(response, rules)) return fail(Fault::UpstreamBadResponse);
  is_upgrade_ = response.is_upgrade();
  response_begun_ = true;
  response_reusable_ = response.reusable;
  upstream_->begin_body(is_upgrade_ ? Framing{BodyKind::UntilClose, 0} : response.body,
                        response.head_bytes);
  return true;
}

// App to client, as far as both go. True: the response is over.
Result<bool> Exchange::pump_response() {
  using enum BodyPiece::State;
  int pieces = 0;
  while (client_.can_take()) {
    if (++pieces > kPiecesPerTurn) {
      more_to_do_ = true;
      return false;
    }
    const BodyPiece piece = upstream_->next_body();
    if (piece.state == Later) return false;
    last_progress_ = context_.loop.now();
    bytes_out_ += piece.bytes.size();
    pace_bytes_ += piece.bytes.size();
    bool taken = client_.offer_body(piece.bytes);
    if (piece.state == Failed) return fail(piece.fault);
    if (piece.state == End) {
      taken = taken && client_.finish_body(head_->te_trailers ? upstream_->response_trailers()
                                                              : std::span<const Field>());
      response_done_ = taken;
    }
    if (!taken) return fail(Fault::ClientLeft);
    if (response_done_) return true;
  }
  return false;
}

// It is the client that keeps the exchange from going on.
bool Exchange::waits_for_client() const {
  if (!client_.can_take()) return true;
  return !response_begun_ && !request_done_ && !request_stuck_ && upstream_->can_take() &&
         !head_->expect_continue;
}

TimePoint Exchange::relay_deadline() const {
  if (waits_for_client()) return pace_began_ + limits::kBodyRateWindow;
  const auto& idle = route_.port->http_options.idle_timeout;
  if (idle) return last_progress_ + *idle;
  return response_begun_ ? kNever : last_progress_ + limits::kFirstByteTimeout;
}

// A client must move 240 B/s over each window while it is waited for; the app must answer in time.
Result<> Exchange::check_pace(Woke woke) {
  const TimePoint now = context_.loop.now();
  if (!waits_for_client()) {
    pace_began_ = now;
    pace_bytes_ = 0;
    if (woke != Woke::Deadline) return {};
    return fail(Error(Fault::UpstreamTimeout));
  }
  if (now - pace_began_ < limits::kBodyRateWindow) return {};
  constexpr auto kLeast =
      limits::kMinBodyBytesPerSecond *
      static_cast<std::size_t>(limits::kBodyRateWindow / std::chrono::seconds(1));
  if (pace_bytes_ < kLeast) return fail(Fault::BodyTimeout);
  pace_began_ = now;
  pace_bytes_ = 0;
  return {};
}

Task<> Exchange::tunnel() {
  const bool is_websocket = head_->upgrade == Upgrade::WebSocket;
  client_.flush();
  if (holds_slot_ && lease_.become_tunnel(route_.service->concurrency)) holds_slot_ = false;
  client_.park();
  Tunnel tunnel({.context = context_,
                 .client = client_,
                 .upstream = *upstream_,
                 .waiter = waiter_,
                 .load = machine_->load.get(),
                 .is_websocket = is_websocket,
                 .idle = view_->config->rooster.tunnel_idle});
  auto over = co_await tunnel.run();
  head_ = &client_.unpark();
  counters_ = &context_.metrics.apps.of(route_.app, seconds());
  if (over) {
    bytes_in_ = over->bytes_in;
    bytes_out_ = over->bytes_out;
    fault_ = over->fault;
  }
  request_done_ = true;
  end_.tunnelled = true;
  release();
  co_return {};
}

// ---- 6

void Exchange::release() {
  if (upstream_) {
    const bool reusable = response_done_ && request_done_ && response_reusable_ &&
                          upstream_->is_clean() && lease_ && !lease_.load().read().closed &&
                          route_.service->concurrency.hard_limit != 1;
    if (response_begun_ && lease_) lease_.load().response_seen();
    if (reusable) context_.pool.give_back(upstream_->release(), context_.loop.now());
    upstream_.reset();
  }
  if (lease_) {
    counters_->concurrency.add(-1);
    if (std::exchange(holds_slot_, false)) lease_.load().close_connection();
    lease_.drop();
  }
  if (response_done_) end_.keep_alive = client_.keeps_alive();
}

// The one exit of every error. Once a response has begun, the only truthful answer is to cut it
// short.
void Exchange::refuse(const Error& error) {
  fault_ = error.fault;
  const FaultText text = describe(error.fault);
  if (response_begun_ || text.status == 0 || error.fault == Fault::ClientLeft) {
    if (!response_begun_) status_ = text.status;
    client_.flush();  // what came is the client's, its end is missing
    end_.must_cut = true;
    return;
  }
  status_ = text.status;
  const auto* accept = head_->find(FieldKind::Accept);
  const bool body_read = try_read_rest();
  end_.keep_alive =
      head_->keep_alive && body_read && text.origin != Origin::Client && !context_.draining;
  std::optional<std::chrono::seconds> retry_after;
  if (retry_at_ != TimePoint{} && retry_at_ != kNever) {
    const Duration left = remaining(retry_at_, context_.loop.now());
    retry_after = std::max(std::chrono::ceil<std::chrono::seconds>(left), std::chrono::seconds(1));
  }
  const std::string page =
      write_refusal({.fault = error.fault,
                     .accept = accept != nullptr ? accept->value : std::string_view(),
                     .request_id = id_.view(),
                     .app = view_ ? std::string_view(view_->config->name) : std::string_view(),
                     .retry_after = retry_after,
                     .close = !end_.keep_alive,
                     .head_only = head_->method == Method::Head});
  bytes_out_ = page.size();
  client_.send_own(page);
}

// Takes the rest of a request's body that is here already: the connection then needs no closing.
bool Exchange::try_read_rest() {
  if (request_done_) return true;
  for (int piece = 0; piece < kPiecesPerTurn; ++piece) {
    const BodyPiece got = client_.next_body();
    if (got.state == BodyPiece::State::End) {
      request_done_ = true;
      return true;
    }
    if (got.state != BodyPiece::State::More) return false;
  }
  return false;
}

// What we hold for a slow client is bounded; it gets the usual pace to take it.
Task<> Exchange::drain_client() {
  while (!client_.can_take()) {
    const TimePoint deadline = context_.loop.now() + limits::kBodyRateWindow;
    const Woke woke = co_await waiter_.wait(deadline, client_.interest(false, true, false));
    const bool gone = !client_.flush() || client_.is_gone(false);
    if (gone || woke == Woke::Deadline || woke == Woke::Interrupted) {
      if (fault_ == Fault::None) fault_ = gone ? Fault::ClientLeft : Fault::BodyTimeout;
      end_.must_cut = true;
      co_return {};
    }
  }
  co_return {};
}

// ---- 7

std::uint32_t Exchange::since_start(TimePoint when) const {
  if (when <= started_) return 0;
  return static_cast<std::uint32_t>((when - started_) / std::chrono::microseconds(1));
}

std::string Exchange::server_timing() const {
  const auto ms = [](Duration duration) {
    return std::chrono::duration<double, std::milli>(std::max(duration, Duration::zero())).count();
  };
  std::string text = fmt::format("wake;dur={:.1f}", ms(waited_));
  if (machine_->timeline && machine_->timeline->ready != TimePoint{}) {
    const machines::WakeTimeline& wake = *machine_->timeline;
    text += fmt::format(", queue;dur={:.1f}, start;dur={:.1f}, ready;dur={:.1f}",
                        ms(wake.queued - started_), ms(wake.started - wake.queued),
                        ms(wake.ready - wake.started));
  }
  text += fmt::format(", first-byte;dur={:.1f}", ms(context_.loop.now() - sent_at_));
  return text;
}

void Exchange::record() {
  const TimePoint now = context_.loop.now();
  WorkerMetrics& metrics = context_.metrics;
  const Duration took = now - started_;
  if (status_ >= 100 && status_ < 600) {
    metrics.responses[static_cast<std::size_t>(status_ - 100)].add();
    metrics.response_time[static_cast<std::size_t>(status_ / 100 - 1)].add(
        std::chrono::duration_cast<std::chrono::microseconds>(took));
  }
  if (fault_ != Fault::None) metrics.faults[static_cast<std::size_t>(fault_)].add();
  metrics.bytes_in.add(bytes_in_);
  metrics.bytes_out.add(bytes_out_);
  if (counters_ != nullptr) {
    if (status_ >= 100) counters_->responses[status_slot(status_)].add();
    counters_->response_us.add(static_cast<std::uint64_t>(took / std::chrono::microseconds(1)));
    counters_->bytes_in.add(bytes_in_);
    counters_->bytes_out.add(bytes_out_);
    if (fault_ != Fault::None) counters_->refusals.add();
  }
  const ClientFacts& facts = client_.facts();
  const Field* agent = head_->find(FieldKind::UserAgent);
  const Field* referer = head_->find(FieldKind::Referer);
  AccessRecord line{.time = wall_,
                    .request_id = id_.view(),
                    .client = client_address_,
                    .method = head_->method_text,
                    .host = head_->host,
                    .target = head_->target,
                    .user_agent = agent != nullptr ? agent->value : std::string_view(),
                    .referer = referer != nullptr ? referer->value : std::string_view(),
                    .bytes_in = bytes_in_,
                    .bytes_out = bytes_out_,
                    .total_us = since_start(now),
                    .queue_us = static_cast<std::uint32_t>(waited_ / std::chrono::microseconds(1)),
                    .status = status_,
                    .fault = fault_,
                    .tls = facts.tls_version,
                    .version = facts.version,
                    .attempts = static_cast<std::uint8_t>(std::min(attempts_, 255)),
                    .waited = did_wait_};
  if (view_) line.app = view_->config->name;
  if (machine_ != nullptr) {
    line.machine = machine_->id.value;
    line.region = machine_->region;
  }
  if (head_at_ > sent_at_) {
    line.upstream_us =
        static_cast<std::uint32_t>((head_at_ - sent_at_) / std::chrono::microseconds(1));
  }
  if (did_wait_ && machine_ != nullptr && machine_->timeline) {
    line.wake = {.queue_us = since_start(machine_->timeline->queued),
                 .start_us = since_start(machine_->timeline->started),
                 .ready_us = since_start(machine_->timeline->ready),
                 .first_byte_us = since_start(sent_at_)};
  }
  context_.access_log.push(line);
}

}  // namespace

Task<ExchangeEnd> run_exchange(WorkerContext& context, ClientSide& client, Waiter& waiter,
                               const RequestHead& head) {
  Exchange exchange(context, client, waiter, head);
  co_return co_await exchange.run();
}

}  // namespace rooster::proxy
