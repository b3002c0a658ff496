// The way of one request (docs/life-of-a-request.md):
//   1. vet()             what the proxy answers by itself: OPTIONS *, a host of another certificate
//   2. route()           host and port -> app, service; force_https
//   3. claim_.acquire()  waits at the wake gate until the app has a ready machine, picks one ->
//   Lease (proxy/machine_claim.cpp)
//   4. connect()         a pooled connection to it, or a new one
//   5. relay()           the head, both bodies at once, the response; upgrades become a Tunnel
//   after the 101
//   6. release()         the connection goes back, the lease is dropped
//   7. record()          one log line, the counters, the wake's timeline
// Steps 3 to 6 repeat only while may_retry() says so. Every error leaves by refuse(), then 7.
#include "proxy/exchange.hpp"

#include "proxy/affinity.hpp"
#include "proxy/connect_machine.hpp"
#include "proxy/error_response.hpp"
#include "proxy/grpc.hpp"
#include "proxy/h1_upstream.hpp"
#include "proxy/h2_upstream.hpp"
#include "proxy/machine_claim.hpp"
#include "proxy/may_retry.hpp"
#include "proxy/pace.hpp"
#include "proxy/record_exchange.hpp"
#include "proxy/relay.hpp"
#include "proxy/serve_static.hpp"
#include "proxy/tunnel.hpp"
#include "proxy/worker_context.hpp"

#include <algorithm>
#include <array>
#include <optional>

namespace rooster::proxy {

namespace {

constexpr int kMostPiecesLeft = 16;  // of a body nobody wants, before the connection is given up

class Exchange final : private Claimant {
 public:
  Exchange(WorkerContext& context, ClientSide& client, Waiter& waiter, const RequestHead& head)
      : context_(context),
        client_(client),
        waiter_(waiter),
        head_(&head),
        started_(context.loop.now()),
        wall_(context.wall_now()),
        id_(context.request_ids.next(wall_)),
        claim_(context, waiter, *this) {}

  Task<ExchangeEnd> run();

 private:
  Result<bool> vet();
  Result<bool> route();
  Task<bool> answer_from_statics();
  Task<> connect();
  Error connect_failed(const Error& error);
  Task<> relay();
  Task<> tunnel();
  Task<> drain_client();
  void release();
  void refuse(const Error& error);
  void record();

  Forwarding forwarding();
  bool try_read_rest();

  Result<> find_route() override;
  machines::WakeAttempt wake_attempt() const override;
  Steering steering() const override;
  std::size_t held_bytes() const override { return head_->head_bytes; }
  void park() override { client_.park(); }
  void unpark() override { head_ = &client_.unpark(); }
  Interest departure() override { return client_.interest(false, false, !keeps_half_closed()); }
  bool has_left() const override { return client_.is_gone(!keeps_half_closed()); }
  bool keeps_half_closed() const { return claim_.view()->config->rooster.half_close; }

  WorkerContext& context_;
  ClientSide& client_;
  Waiter& waiter_;
  const RequestHead* head_;
  const TimePoint started_;
  const WallTime wall_;
  const RequestId id_;
  MachineClaim claim_;

  Route route_{};
  std::optional<H1Upstream> h1_upstream_;
  std::optional<H2Upstream> h2_upstream_;
  UpstreamSide* upstream_ = nullptr;  // one of the two

  std::array<char, 46> peer_text_;
  std::array<char, 46> client_text_;
  std::string_view peer_;
  std::string default_host_;  // for a request of HTTP/1.0 without Host
  std::string_view client_address_;
  IpAddress client_ip_;
  RelayFacts facts_;
  TimePoint call_deadline_ = kNever;  // the client's, by grpc-timeout
  Fault fault_ = Fault::None;
  ExchangeEnd end_;
};

Task<ExchangeEnd> Exchange::run() {
  Result<bool> answered = vet();
  if (answered && !*answered) answered = route();
  if (answered && !*answered && !claim_.view()->config->statics.empty()) {
    answered = co_await answer_from_statics();
  }
  if (!answered) {
    refuse(answered.error());
  } else if (!*answered) {
    if (!grpc_type(*head_).empty()) {
      if (const auto most = grpc_timeout(*head_)) call_deadline_ = started_ + *most;
    }
    const DeadlineScope call(waiter_, call_deadline_);
    while (true) {
      auto got = co_await claim_.acquire();
      if (got) {
        got = co_await connect();
        if (got) got = co_await relay();
        if (got && facts_.is_upgrade) got = co_await tunnel();
      }
      if (got) break;
      const bool had_lease = static_cast<bool>(claim_);
      const BodyState body = client_.body_is_replayable() ? BodyState::Replayable : BodyState::Gone;
      const ResponseState response = upstream_ != nullptr && upstream_->has_received()
                                         ? ResponseState::Begun
                                         : ResponseState::Nothing;
      const bool again =
          had_lease && !facts_.response_begun && !waiter_.is_interrupted() &&
          may_retry(got.error(), head_->method, body, response,
                    {.made = claim_.attempts(), .forced = !steering().force_instance.empty()});
      release();
      if (!again) {
        refuse(got.error());
        break;
      }
      claim_.counters()->retries.add();
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
  const auto& private_app = client_.facts().private_app;
  auto found = private_app       ? context_.router.match_private(*private_app, port)
               : head_->has_host ? context_.router.match(head_->host_name, port)
                                 : context_.router.match_without_host(port);
  if (!found) return fail(found.error());
  route_ = *found;
  claim_.aim(context_.view(route_.app), *route_.service);
  if (!head_->has_host) {
    default_host_ = claim_.view()->config->name + "." + context_.settings->domain;
  }
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
  if (head_->has_host && !client_.covers(head_->host_name)) return fail(Fault::Misdirected);
  if (route_.port->force_https && !facts.private_app && !is_https(*head_, forwarding())) {
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

Task<bool> Exchange::answer_from_statics() {
  auto answered = co_await serve_static({.context = context_,
                                         .client = client_,
                                         .waiter = waiter_,
                                         .head = *head_,
                                         .app = *claim_.view()->config,
                                         .options = route_.port->http_options,
                                         .request_id = id_.view()},
                                        facts_);
  if (answered && *answered) end_.keep_alive = client_.keeps_alive();
  co_return answered;
}

// ---- 3: a ready machine, and a claim on it

machines::WakeAttempt Exchange::wake_attempt() const {
  const auto* agent = head_->find(FieldKind::UserAgent);
  return {.source = client_ip_,
          .method = head_->method_text,
          .path = head_->path,
          .user_agent = agent != nullptr ? agent->value : std::string_view()};
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
  const config::Affinity& affinity = claim_.view()->config->rooster.affinity;
  if (affinity.kind != config::Affinity::Kind::None) add_affinity(affinity, *head_, wishes);
  return wishes;
}

// ---- 4: a connection

Task<> Exchange::connect() {
  const machines::MachineView& machine = *claim_.machine();
  const ConnectWish wish{.port = machine.port_for(*route_.service, client_.facts().port),
                         .is_idempotent = is_idempotent(head_->method),
                         // Where one pooled connection was stale the others may be as well.
                         .may_be_pooled = claim_.attempts() == 1};
  // Upgrades are HTTP/1.1's: an app that takes any speaks it on the same port.
  if (route_.port->http_options.h2_backend && head_->upgrade == Upgrade::None) {
    auto shared = co_await take_h2_connection(context_, waiter_, machine, wish);
    if (!shared) co_return connect_failed(shared.error());
    upstream_ = &h2_upstream_.emplace(std::move(*shared), waiter_, context_.scratch);
    co_return {};
  }
  if (auto pooled = take_pooled(context_, machine, wish)) {
    upstream_ = &h1_upstream_.emplace(std::move(pooled), context_.scratch);
    co_return {};
  }
  auto opened = co_await open_connection(context_, waiter_, machine, {.port = wish.port});
  if (!opened) co_return connect_failed(opened.error());
  upstream_ = &h1_upstream_.emplace(std::move(*opened), context_.scratch);
  co_return {};
}

Error Exchange::connect_failed(const Error& error) {
  if (error.fault == Fault::UpstreamRefused) claim_.connect_failed();
  return error;
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
          .place = context_.place(facts.local_port),
          .request_id = id_.view(),
          .default_host = default_host_,
          .via = facts.version == HttpVersion::Http2 ? "2 rooster" : "1.1 rooster"};
}

Task<> Exchange::relay() {
  std::string timing;
  if (claim_.did_wait()) timing = wake_timing(*claim_.machine(), started_, claim_.waited());
  std::string cookie;
  const config::Affinity& affinity = claim_.view()->config->rooster.affinity;
  if (affinity.kind != config::Affinity::Kind::None) {
    cookie = affinity_cookie(affinity, *head_, claim_.machine()->id.value,
                             is_https(*head_, forwarding()));
  }
  Relay relay({.context = context_,
               .client = client_,
               .upstream = *upstream_,
               .waiter = waiter_,
               .head = *head_,
               .options = route_.port->http_options,
               .request_id = id_.view(),
               .wake_timing = timing,
               .set_cookie = cookie},
              facts_);
  auto done = co_await relay.run(forwarding());
  if (done && !facts_.is_upgrade) release();
  co_return done;
}

Task<> Exchange::tunnel() {
  const bool is_websocket = head_->upgrade == Upgrade::WebSocket;
  client_.flush();
  claim_.become_tunnel();
  client_.park();
  Tunnel tunnel({.context = context_,
                 .client = *client_.stream(),
                 .app = *upstream_->stream(),
                 .from_client = client_.take_buffered(),
                 .from_app = upstream_->take_buffered(),
                 .waiter = waiter_,
                 .load = claim_.machine()->load.get(),
                 .is_websocket = is_websocket,
                 .idle = claim_.view()->config->rooster.tunnel_idle});
  auto over = co_await tunnel.run();
  head_ = &client_.unpark();
  claim_.renew_counters();
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
  if (upstream_ != nullptr) {
    const bool reusable = h1_upstream_ && facts_.response_done && facts_.request_done &&
                          facts_.response_reusable && h1_upstream_->is_clean() && claim_ &&
                          !claim_.load().read().closed &&
                          route_.service->concurrency.hard_limit != 1;
    if (facts_.response_begun && claim_ && !end_.tunnelled) claim_.load().response_seen();
    if (reusable) context_.pool.give_back(h1_upstream_->release(), context_.loop.now());
    h1_upstream_.reset();
    h2_upstream_.reset();
    upstream_ = nullptr;
  }
  claim_.drop();
  if (facts_.response_done) end_.keep_alive = client_.keeps_alive();
}

// The one exit of every error. Once a response has begun, the only truthful answer is to cut it
// short.
void Exchange::refuse(const Error& error) {
  claim_.leave_gate();  // a grant that was not used is the next one's
  fault_ = error.fault;
  const FaultText text = describe(error.fault);
  if (facts_.response_begun || text.status == 0 || error.fault == Fault::ClientLeft) {
    if (!facts_.response_begun) facts_.status = text.status;
    client_.flush();  // what came is the client's, its end is missing
    end_.must_cut = true;
    return;
  }
  const std::string_view grpc = grpc_type(*head_);
  facts_.status = grpc.empty() ? text.status : 200;
  const auto* accept = head_->find(FieldKind::Accept);
  const bool body_read = try_read_rest();
  end_.keep_alive =
      head_->keep_alive && body_read && text.origin != Origin::Client && !context_.draining;
  std::optional<std::chrono::seconds> retry_after;
  if (claim_.retry_at() != TimePoint{} && claim_.retry_at() != kNever) {
    const Duration left = remaining(claim_.retry_at(), context_.loop.now());
    retry_after = std::max(std::chrono::ceil<std::chrono::seconds>(left), std::chrono::seconds(1));
  }
  const std::string page = write_refusal(
      {.fault = error.fault,
       .accept = accept != nullptr ? accept->value : std::string_view(),
       .request_id = id_.view(),
       .app = claim_.view() ? std::string_view(claim_.view()->config->name) : std::string_view(),
       .retry_after = retry_after,
       .close = !end_.keep_alive,
       .head_only = head_->method == Method::Head,
       .grpc_type = grpc,
       .grpc_too_late = call_deadline_ <= context_.loop.now()});
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
                             .waited = claim_.waited(),
                             .did_wait = claim_.did_wait(),
                             .attempts = claim_.attempts(),
                             .fault = fault_,
                             .view = claim_.view().get(),
                             .machine = claim_.machine(),
                             .counters = claim_.counters()});
}

}  // namespace

Task<ExchangeEnd> run_exchange(WorkerContext& context, ClientSide& client, Waiter& waiter,
                               const RequestHead& head) {
  Exchange exchange(context, client, waiter, head);
  co_return co_await exchange.run();
}

}  // namespace rooster::proxy
