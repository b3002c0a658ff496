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

#include "proxy/connect_machine.hpp"
#include "proxy/error_response.hpp"
#include "proxy/h1_upstream.hpp"
#include "proxy/may_retry.hpp"
#include "proxy/pace.hpp"
#include "proxy/pick_machine.hpp"
#include "proxy/record_exchange.hpp"
#include "proxy/relay.hpp"
#include "proxy/tunnel.hpp"
#include "proxy/worker_context.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>

namespace rooster::proxy {

namespace {

constexpr int kMostPiecesLeft = 16;  // of a body nobody wants, before the connection is given up
constexpr int kPicksPerTurn = 8;     // lost races for a lease before the gate decides

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
  Steering steering() const;
  Task<> relay();
  Task<> tunnel();
  Task<> drain_client();
  void release();
  void refuse(const Error& error);
  void record();

  Forwarding forwarding();
  bool try_read_rest();
  machines::Arriving arriving() const;
  Fault wait_fault() const;
  MetricSeconds seconds() const { return metric_seconds(context_.loop.now()); }

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
  RelayFacts facts_;
  Duration waited_{};
  bool did_wait_ = false;
  bool holds_slot_ = false;  // one of the machine's upstream connections is ours
  int attempts_ = 0;
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
        if (got && facts_.is_upgrade) got = co_await tunnel();
      }
      if (got) break;
      const bool had_lease = static_cast<bool>(lease_);
      const BodyState body = client_.body_is_replayable() ? BodyState::Replayable : BodyState::Gone;
      const ResponseState response =
          upstream_ && upstream_->has_received() ? ResponseState::Begun : ResponseState::Nothing;
      const bool again =
          had_lease && !facts_.response_begun && !waiter_.is_interrupted() &&
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
      facts_ = {};
    }
  }
  if (!end_.must_cut && client_.flush() && !client_.can_take()) co_await drain_client();
  record();
  end_.request_read = facts_.request_done || try_read_rest();
  co_return end_;
}

// ---- 1, 2: what needs no machine

Result<bool> Exchange::vet() {
  peer_ = {peer_text_.data(), client_.facts().peer_address.write(peer_text_.data())};
  client_address_ = peer_;
  if (head_->asterisk) {
    facts_.status = 200;
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
  machine_ = nullptr;  // it was the old view's
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
    facts_.status = 301;
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
  const ConnectWish wish{.port = machine_->port_for(*route_.service, client_.facts().port),
                         .is_idempotent = is_idempotent(head_->method),
                         // Where one pooled connection was stale the others may be as well.
                         .may_be_pooled = attempts_ == 1};
  if (auto pooled = take_pooled(context_, *machine_, wish)) {
    upstream_.emplace(std::move(pooled), context_.scratch);
    co_return {};
  }
  auto opened = co_await open_connection(context_, waiter_, *machine_,
                                         machine_->endpoint(*route_.service, client_.facts().port));
  if (!opened) co_return opened.error();
  upstream_.emplace(std::move(*opened), context_.scratch);
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
  const std::string timing = did_wait_ ? wake_timing(*machine_, started_, waited_) : std::string();
  Relay relay({.context = context_,
               .client = client_,
               .upstream = *upstream_,
               .waiter = waiter_,
               .head = *head_,
               .options = route_.port->http_options,
               .request_id = id_.view(),
               .wake_timing = timing},
              facts_);
  auto done = co_await relay.run(forwarding());
  if (done && !facts_.is_upgrade) release();
  co_return done;
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
    facts_.bytes_in = over->bytes_in;
    facts_.bytes_out = over->bytes_out;
    fault_ = over->fault;
  }
  facts_.request_done = true;
  end_.tunnelled = true;
  release();
  co_return {};
}

// ---- 6

void Exchange::release() {
  if (upstream_) {
    const bool reusable = facts_.response_done && facts_.request_done && facts_.response_reusable &&
                          upstream_->is_clean() && lease_ && !lease_.load().read().closed &&
                          route_.service->concurrency.hard_limit != 1;
    if (facts_.response_begun && lease_) lease_.load().response_seen();
    if (reusable) context_.pool.give_back(upstream_->release(), context_.loop.now());
    upstream_.reset();
  }
  if (lease_) {
    counters_->concurrency.add(-1);
    if (std::exchange(holds_slot_, false)) lease_.load().close_connection();
    lease_.drop();
  }
  if (facts_.response_done) end_.keep_alive = client_.keeps_alive();
}

// The one exit of every error. Once a response has begun, the only truthful answer is to cut it
// short.
void Exchange::refuse(const Error& error) {
  node_.leave();  // a grant that was not used is the next one's
  fault_ = error.fault;
  const FaultText text = describe(error.fault);
  if (facts_.response_begun || text.status == 0 || error.fault == Fault::ClientLeft) {
    if (!facts_.response_begun) facts_.status = text.status;
    client_.flush();  // what came is the client's, its end is missing
    end_.must_cut = true;
    return;
  }
  facts_.status = text.status;
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
  facts_.bytes_out = page.size();
  client_.send_own(page);
}

// Takes the rest of a request's body that is here already: the connection then needs no closing.
bool Exchange::try_read_rest() {
  if (facts_.request_done) return true;
  for (int piece = 0; piece < kMostPiecesLeft; ++piece) {
    const BodyPiece got = client_.next_body(limits::kRelayBytes);
    if (got.state == BodyPiece::State::End) {
      facts_.request_done = true;
      return true;
    }
    if (got.state != BodyPiece::State::More) return false;
  }
  return false;
}

// What we hold for a slow client is bounded; it gets the usual pace to take it.
Task<> Exchange::drain_client() {
  Pace pace;
  const auto moved = [this] { return client_.delivered_bytes(); };
  pace.begin(context_.loop.now(), moved);
  while (!client_.can_take()) {
    const Woke woke = co_await waiter_.wait(pace.deadline(), client_.interest(false, true, false));
    const bool gone = !client_.flush() || client_.is_gone(false);
    const bool is_slow = !pace.keeps_up(context_.loop.now(), moved);
    if (gone || is_slow || woke == Woke::Interrupted) {
      if (fault_ == Fault::None) fault_ = gone ? Fault::ClientLeft : Fault::BodyTimeout;
      end_.must_cut = true;
      co_return {};
    }
  }
  co_return {};
}

// ---- 7

void Exchange::record() {
  record_exchange(context_, {.head = *head_,
                             .client = client_.facts(),
                             .relay = facts_,
                             .request_id = id_.view(),
                             .client_address = client_address_,
                             .wall = wall_,
                             .started = started_,
                             .waited = waited_,
                             .did_wait = did_wait_,
                             .attempts = attempts_,
                             .fault = fault_,
                             .view = view_.get(),
                             .machine = machine_,
                             .counters = counters_});
}

}  // namespace

Task<ExchangeEnd> run_exchange(WorkerContext& context, ClientSide& client, Waiter& waiter,
                               const RequestHead& head) {
  Exchange exchange(context, client, waiter, head);
  co_return co_await exchange.run();
}

}  // namespace rooster::proxy
