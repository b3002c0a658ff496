// The flow: pump_request() and pump_response() move what can move without waiting; then one wait
// for whichever of the two sides can go on, with the deadline of whoever keeps the exchange
// waiting.
#include "proxy/relay.hpp"

#include "proxy/grpc.hpp"
#include "proxy/worker_context.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>

namespace rooster::proxy {

namespace {

constexpr int kPiecesPerTurn = 16;     // a bulk transfer lets others in after 1 MiB
constexpr int kCompressedPerTurn = 1;  // compressing one piece takes as long as relaying 1 MiB

}  // namespace

Relay::Relay(const RelaySetup& setup, RelayFacts& facts)
    : context_(setup.context),
      client_(setup.client),
      upstream_(setup.upstream),
      waiter_(setup.waiter),
      head_(setup.head),
      options_(setup.options),
      request_id_(setup.request_id),
      wake_timing_(setup.wake_timing),
      set_cookie_(setup.set_cookie),
      facts_(facts),
      is_call_(!grpc_type(setup.head).empty()) {}

Task<> Relay::run(const Forwarding& forwarding) {
  last_progress_ = facts_.sent_at = context_.loop.now();
  if (!upstream_.send_head(head_, forwarding)) co_return Error(Fault::HeadTooLarge, Reached::No);
  while (true) {
    more_to_do_ = false;
    auto sent = pump_request();
    if (!sent) co_return sent.error();
    if (!facts_.response_begun) {
      auto begun = pump_head();
      if (!begun) co_return begun.error();
      if (facts_.is_upgrade) co_return {};
    }
    if (facts_.response_begun) {
      auto done = pump_response();
      if (!done) co_return done.error();
      if (*done) co_return {};
    }
    if (!client_.flush() || client_.is_gone(false)) co_return Error(Fault::ClientLeft);
    if (client_is_full_ && client_.can_take()) more_to_do_ = true;
    upstream_.park();
    if (more_to_do_) waiter_.notify();
    const bool wants_request = !facts_.request_done && !request_stuck_ && upstream_.can_take();
    const Woke woke = co_await waiter_.wait(
        next_deadline(), client_.interest(wants_request, !client_.can_take(), false),
        upstream_.interest(!facts_.response_begun || client_.can_take(),
                           !request_stuck_ && !upstream_.can_take()));
    if (woke == Woke::Interrupted) co_return Error(waiter_.interrupted_by());
    auto in_time = check_time(woke);
    if (!in_time) co_return in_time.error();
  }
}

// Client to app, as far as both go. An Error: the request is broken.
Result<> Relay::pump_request() {
  using enum BodyPiece::State;
  int pieces = 0;
  while (!facts_.request_done && !request_stuck_ && upstream_.can_take()) {
    if (++pieces > kPiecesPerTurn) {
      more_to_do_ = true;
      break;
    }
    const BodyPiece piece = client_.next_body(up_.bytes());
    if (piece.state == Failed) return fail(piece.fault);
    facts_.bytes_in += piece.bytes.size();
    if (piece.state != Later) last_progress_ = context_.loop.now();
    bool taken = upstream_.offer_body(piece.bytes);
    if (piece.state == End) {
      taken = taken && upstream_.finish_body(client_.request_trailers());
      facts_.request_done = true;
    }
    if (!taken) request_stuck_ = true;
    if (piece.state == Later) break;
    up_.took(piece.bytes.size(), upstream_.can_take());
  }
  const bool is_full = !facts_.request_done && !upstream_.can_take();
  // An app that takes no more may have answered already: its response is read first.
  if (!upstream_.flush()) request_stuck_ = true;
  if (is_full && upstream_.can_take()) more_to_do_ = true;
  return {};
}

// Towards the response's head; interim ones are passed on. True: it is here and was encoded for the
// client.
Result<bool> Relay::pump_head() {
  ResponseHead& response = context_.scratch.response;
  const Asked asked{.method = head_.method, .upgrade = head_.upgrade};
  while (true) {
    const Parsed parsed = upstream_.next_head(asked, response);
    if (parsed.status == ParseStatus::NeedMore) return false;
    if (parsed.status == ParseStatus::Invalid) {
      const bool sent = upstream_.has_sent();
      return fail(Error(parsed.fault, sent ? Reached::Maybe : Reached::No));
    }
    last_progress_ = context_.loop.now();
    if (!response.is_interim()) break;
    if (++interims_ > limits::kMaxInterimResponses) return fail(Fault::UpstreamBadResponse);
    if (!client_.send_interim(response)) return fail(Fault::ClientLeft);
  }
  facts_.head_at = context_.loop.now();
  facts_.status = response.status;
  const Framing body = response.body;
  const std::size_t head_bytes = response.head_bytes;
  if (!set_cookie_.empty() && response.field_count < limits::kMaxFields) {
    response.field_storage[response.field_count++] = {"Set-Cookie", set_cookie_,
                                                      FieldKind::SetCookie};
  }
  if (options_.compress.value_or(false)) {
    compression_ =
        Compression::begin(context_.encoders, head_, response, options_.response_headers);
  }
  const std::string timing = server_timing();
  const ResponseRules rules{.client_minor = head_.http_minor,
                            .keep_alive = head_.keep_alive && !context_.draining,
                            .method = head_.method,
                            .pristine = options_.pristine,
                            .headers = options_.response_headers,
                            .request_id = request_id_,
                            .date = context_.http_date(),
                            .server_timing = timing};
  if (!client_.send_head(response, rules)) return fail(Fault::UpstreamBadResponse);
  facts_.is_upgrade = response.is_upgrade();
  facts_.response_begun = true;
  facts_.response_reusable = response.reusable;
  upstream_.begin_body(facts_.is_upgrade ? Framing{BodyKind::UntilClose, 0} : body, head_bytes);
  return true;
}

// App to client, as far as both go. True: the response is over.
Result<bool> Relay::pump_response() {
  using enum BodyPiece::State;
  int pieces = 0;
  client_is_full_ = false;
  while (client_.can_take()) {
    if (++pieces > (compression_ ? kCompressedPerTurn : kPiecesPerTurn)) {
      more_to_do_ = true;
      return false;
    }
    const BodyPiece piece =
        upstream_.next_body(compression_ ? limits::kEncodedAtOnceBytes : down_.bytes());
    if (compression_) {
      const auto given = give_compressed(piece);
      if (!given) return fail(given.error());
    }
    if (piece.state == Later) return false;
    last_progress_ = context_.loop.now();
    if (!compression_) {
      facts_.bytes_out += piece.bytes.size();
      if (!client_.offer_body(piece.bytes)) return fail(Fault::ClientLeft);
    }
    if (piece.state == Failed) return fail(piece.fault);
    if (piece.state == End) {
      if (!client_.finish_body(head_.te_trailers ? upstream_.response_trailers()
                                                 : std::span<const Field>())) {
        return fail(Fault::ClientLeft);
      }
      facts_.response_done = true;
      return true;
    }
    down_.took(piece.bytes.size(), client_.can_take());
  }
  client_is_full_ = true;
  return false;
}

// Of a body that fails, the client gets what came of it.
Result<> Relay::give_compressed(const BodyPiece& piece) {
  using enum BodyPiece::State;
  auto given = compression_->offer(client_, piece.bytes);
  if (given && piece.state == End) given = compression_->finish(client_);
  if (given && (piece.state == Later || piece.state == Failed))
    given = compression_->flush(client_);
  facts_.bytes_out = compression_->bytes_out();
  return given;
}

// It is the client that keeps the exchange from going on.
bool Relay::waits_for_client() const {
  if (!client_.can_take()) return true;
  // A call's messages come when they come: its stream may rest.
  return !is_call_ && !facts_.response_begun && !facts_.request_done && !request_stuck_ &&
         upstream_.can_take() && !head_.expect_continue;
}

// What has come from the client, and what the kernel has got rid of towards it: not what it merely
// holds.
std::uint64_t Relay::moved() const {
  return facts_.bytes_in + client_.delivered_bytes();
}

TimePoint Relay::next_deadline() {
  if (waits_for_client()) {
    pace_.begin(context_.loop.now(), [this] { return moved(); });
    return pace_.deadline();
  }
  pace_.end();
  if (options_.idle_timeout) return last_progress_ + *options_.idle_timeout;
  return facts_.response_begun ? kNever : last_progress_ + limits::kFirstByteTimeout;
}

// The client must keep its pace while it is waited for; the app must answer in time.
Result<> Relay::check_time(Woke woke) {
  // The whole exchange's limit, whoever is waited for.
  if (woke == Woke::Deadline && waiter_.limit() <= context_.loop.now()) {
    return fail(Fault::UpstreamTimeout);
  }
  if (waits_for_client()) {
    const bool in_time = pace_.keeps_up(context_.loop.now(), [this] { return moved(); });
    return in_time ? Result<>() : fail(Fault::BodyTimeout);
  }
  return woke == Woke::Deadline ? fail(Fault::UpstreamTimeout) : Result<>();
}

// A wake's timeline, with the time to the first byte of the answer as its end.
std::string Relay::server_timing() const {
  if (wake_timing_.empty()) return {};
  const std::chrono::duration<double, std::milli> took = context_.loop.now() - facts_.sent_at;
  return fmt::format("{}, first-byte;dur={:.1f}", wake_timing_, took.count());
}

}  // namespace rooster::proxy
