// The flow of a client's HTTP/1 connection:
//   1. secure()     TLS, where the listener is https
//   2. begin_head() the next request's head, strictly; read_rest_of_head() where it comes in pieces
//   3. run_exchange()
//   4. again from 2, or linger() and close
#include "proxy/h1_session.hpp"

#include "proxy/exchange.hpp"
#include "proxy/h2_session.hpp"
#include "proxy/linger.hpp"
#include "proxy/listener.hpp"
#include "proxy/record_exchange.hpp"
#include "proxy/worker_context.hpp"
#include "tls/accept.hpp"
#include "tls/certificate.hpp"

#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>

#include <sys/socket.h>

namespace rooster::proxy {

namespace {

// Pipelined requests that need no app never suspend: after so many the others have their turn.
constexpr unsigned kRequestsPerTurn = 16;

// In a drain only what is here already is served, so it is looked for at once.
std::uint8_t assumed_ready(const WorkerContext& context) {
  return context.draining ? Pollable::kReadable | Pollable::kWritable : Pollable::kWritable;
}

}  // namespace

H1Session::H1Session(WorkerContext& context, Descriptor fd, const ClientFacts& facts)
    : context_(context),
      stream_(context.loop, std::move(fd), assumed_ready(context)),
      waiter_(context.sessions),
      facts_(facts),
      buffer_(context.blocks),
      out_(stream_, context.scratch.to_client_span()) {
  context_.metrics.connections_accepted.add();
}

H1Session::~H1Session() {
  context_.heads.give(std::move(head_));
  if (is_handed_over_) return;
  context_.metrics.connections_closed.add();
  context_.budget.clients.fetch_sub(1, std::memory_order_relaxed);
  if (facts_.source_limit != nullptr) facts_.source_limit->leave(facts_.peer_address);
}

// The only frame of a connection that is idle, and a small one: thousands of them wait here.
Task<> H1Session::run(std::unique_ptr<H1Session> self) {
  H1Session& session = *self;
  if (session.facts_.tls && !co_await session.secure()) co_return {};
  if (session.speaks_h2_) co_return co_await H2Session::run(to_h2(std::move(self)));
  for (unsigned served = 0;; ++served) {
    if (served % kRequestsPerTurn == kRequestsPerTurn - 1) {
      session.waiter_.notify();
      co_await session.waiter_.wait(kNever);
    }
    const TimePoint idle_until = session.context_.loop.now() + limits::kIdleClientTimeout;
    while (session.buffer_.empty()) {
      const ReadResult::Status got = session.fill();
      if (got == ReadResult::Status::Some) break;
      // A request that is here already is still served; waiting for another one is over.
      if (got != ReadResult::Status::Later || session.context_.draining) co_return {};
      session.link_before(session.context_.idle);
      const Woke woke = co_await session.waiter_.wait(idle_until, session.stream_.readable());
      session.unlink();
      if (woke == Woke::Interrupted || woke == Woke::Deadline) co_return {};
    }
    if (co_await session.serve_one()) continue;
    if (!session.speaks_h2_) co_return {};
    co_return co_await H2Session::run(to_h2(std::move(self)));
  }
}

// One request whose first bytes are here. An Error: the connection is over.
Task<> H1Session::serve_one() {
  Parsed parsed = begin_head();
  if (parsed.status == ParseStatus::NeedMore) {
    auto rest = co_await read_rest_of_head();
    unlink();
    parsed = rest ? *rest : Parsed{ParseStatus::Invalid, rest.error().fault};
  }
  if (parsed.fault == Fault::VersionNotSupported && begins_h2()) {
    speaks_h2_ = true;
    co_return Error(Fault::VersionNotSupported);
  }
  if (parsed.status == ParseStatus::Invalid) {
    co_await refuse_request(parsed.fault);
    co_return Error(parsed.fault);
  }
  if (leaves_by_gateway_door()) {
    leave_by_gateway_door();
    co_return Error(Fault::ClientLeft);
  }
  auto end = co_await run_exchange(context_, *this, waiter_, begin_request());
  if (end && end->must_cut) cut();
  if (!end || end->must_cut || end->tunnelled) co_return Error(Fault::ClientLeft);
  if (!end->request_read || !end->keep_alive) {
    co_await linger();
    co_return Error(Fault::ClientLeft);
  }
  end_exchange();
  co_return {};
}

Task<> H1Session::secure() {
  const TimePoint began = context_.loop.now();
  const TimePoint deadline = began + limits::kHandshakeTimeout;
  link_before(context_.idle);  // at the cap, who has not even said hello makes room too
  auto handshake = co_await tls::accept_tls(stream_, *context_.tls, waiter_, deadline);
  unlink();
  if (!handshake) {
    context_.metrics.tls_errors.add();
    context_.metrics.faults[static_cast<std::size_t>(handshake.error().fault)].add();
    co_return handshake.error();
  }
  facts_.tls_version =
      SSL_version(stream_.ssl()) == TLS1_3_VERSION ? TlsVersion::Tls13 : TlsVersion::Tls12;
  context_.metrics.tls_handshakes[static_cast<std::size_t>(facts_.tls_version)].add();
  certificate_ = std::move(handshake->certificate);
  if (handshake->resumed) context_.metrics.tls_resumed.add();
  context_.metrics.tls_time.add(
      std::chrono::duration_cast<std::chrono::microseconds>(context_.loop.now() - began));
  const char* const name = SSL_get_servername(stream_.ssl(), TLSEXT_NAMETYPE_host_name);
  if (name != nullptr) facts_.sni = name;  // lives as long as the session
  speaks_h2_ = handshake->alpn == "h2";
  co_return {};
}

// By prior knowledge (RFC 9113 §3.3), without TLS: under TLS it is agreed on, or not spoken.
bool H1Session::begins_h2() const {
  return !facts_.tls && !is_used_ && buffer_.view().starts_with(kH2PrefaceLine);
}

// The connection goes on as another session; this one is over, and nothing of it was counted twice.
std::unique_ptr<H2Session> H1Session::to_h2(std::unique_ptr<H1Session> self) {
  self->is_handed_over_ = true;
  return std::make_unique<H2Session>(self->context_,
                                     H2Arrival{.connection = self->stream_.release(),
                                               .input = std::string(self->buffer_.view()),
                                               .facts = self->facts_,
                                               .certificate = std::move(self->certificate_)});
}

// Never without TLS: what goes there are tokens. A name that the connection's certificate doesn't
// cover is refused as everywhere.
bool H1Session::leaves_by_gateway_door() const {
  return context_.gateway_door && stream_.ssl() != nullptr && !stream_.has_pending() &&
         is_for_gateway(head_->head, context_.settings->gateway_host) &&
         covers(head_->head.host_name);
}

void H1Session::leave_by_gateway_door() {
  GatewayArrival arrival{.connection = {},
                         .input = std::string(buffer_.view()),
                         .source = facts_.peer_address,
                         .wants_websocket = head_->head.upgrade == Upgrade::WebSocket};
  arrival.connection = stream_.release();
  context_.gateway_door(std::move(arrival));
}

// One attempt to read behind what is there; an empty buffer holds no memory afterwards.
ReadResult::Status H1Session::fill() {
  if (!stream_.may_read()) return ReadResult::Status::Later;
  const ReadResult got = stream_.read(buffer_.space());
  if (got.status == ReadResult::Status::Some) buffer_.produced(got.bytes);
  if (buffer_.empty()) buffer_.release();
  return got.status;
}

Parsed H1Session::begin_head() {
  head_ = context_.heads.take();
  head_->head.reset();
  return parse_request_head(buffer_.view(), head_->head);
}

// The head did not come in one piece: headers_read_timeout for the rest of it.
Task<Parsed> H1Session::read_rest_of_head() {
  const TimePoint deadline = context_.loop.now() + head_timeout();
  while (true) {
    if (buffer_.full()) {
      if (buffer_.capacity() > limits::kMaxHeadBytes) co_return Error(Fault::HeadTooLarge);
      buffer_.grow(limits::kMaxHeadBytes + limits::kReadBufferBytes);
    }
    const ReadResult::Status got = fill();
    if (got == ReadResult::Status::Some) {
      const Parsed parsed = parse_request_head(buffer_.view(), head_->head);
      if (parsed.status != ParseStatus::NeedMore) co_return parsed;
      continue;
    }
    if (got != ReadResult::Status::Later) co_return Error(Fault::ClientLeft);
    if (!is_linked()) link_before(context_.idle);
    const Woke woke = co_await waiter_.wait(deadline, stream_.readable());
    // Shed: without a word, its place is wanted.
    if (woke == Woke::Interrupted && waiter_.interrupted_by() == Fault::IdleTimeout)
      co_return Error(Fault::ClientLeft);
    if (woke == Woke::Interrupted) co_return Error(waiter_.interrupted_by());
    if (woke == Woke::Deadline) co_return Error(Fault::HeadTimeout);
  }
}

// The app's own, where the TLS name says already which app it is.
Duration H1Session::head_timeout() const {
  const auto app = facts_.sni.empty() ? std::nullopt : context_.router.find_app(facts_.sni);
  if (!app || !context_.view(*app)) return limits::kHeadTimeout;
  const config::Service* service = context_.view(*app)->config->service_for_port(facts_.port);
  if (service == nullptr) return limits::kHeadTimeout;
  for (const config::Port& port : service->ports) {
    if (port.contains(facts_.port) && port.http_options.headers_read_timeout) {
      return *port.http_options.headers_read_timeout;
    }
  }
  return limits::kHeadTimeout;
}

const RequestHead& H1Session::begin_request() {
  facts_.version = head_->head.http_minor == 0 ? HttpVersion::Http10 : HttpVersion::Http11;
  taken_ = head_->head.head_bytes;
  replayable_ = true;
  head_->body.begin(head_->head.body);
  return head_->head;
}

// A head that can't be trusted: one answer, one log line, and the connection ends.
Task<> H1Session::refuse_request(Fault fault) {
  const std::string page = refuse_head(context_, facts_, fault);
  if (page.empty()) co_return {};
  send_own(page);
  flush();
  co_return co_await linger();
}

// Ends the connection so that the client still gets our last bytes: FIN first, then its own are
// read and dropped for a moment; closing over unread bytes would reset the connection.
Task<> H1Session::linger() {
  stream_.shutdown_write();
  co_return co_await proxy::linger(context_, stream_, waiter_);
}

// The end of the connection must not look like the end of the response: TLS says so by the missing
// close_notify, a framed body by what is missing, and here only a reset can.
void H1Session::cut() {
  if (response_framing_ != BodyKind::UntilClose || stream_.ssl() != nullptr) return;
  const struct ::linger now{1, 0};
  ::setsockopt(stream_.fd(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

void H1Session::end_exchange() {
  is_used_ = true;
  buffer_.consume(std::min(taken_, buffer_.size()));
  if (buffer_.empty()) {
    buffer_.release();
  } else {
    buffer_.compact();  // pipelined: the next head must not move once it is parsed
  }
  taken_ = 0;
  context_.heads.give(std::move(head_));
}

// First what came with the head, in place. A body of known length then comes by the worker's
// scratch, never past its end; a chunked one behind the head in the buffer, where what follows it
// stays for the next request.
BodyPiece H1Session::next_body(std::size_t most) {
  using enum BodyPiece::State;
  while (true) {
    if (head_->body.is_done()) return {End};
    if (taken_ < buffer_.size()) {
      std::size_t consumed = 0;
      const BodyPiece piece = head_->body.take(buffer_.view().substr(taken_), consumed);
      taken_ += consumed;
      if (piece.state != Later) return piece;
      continue;
    }
    if (!stream_.may_read()) return {Later};
    const bool is_chunked = head_->body.framing().kind == BodyKind::Chunked;
    std::span<char> into = context_.scratch.in_span();
    if (is_chunked) {
      into = body_space();
    } else {
      into =
          into.first(static_cast<std::size_t>(std::min<std::uint64_t>(most, head_->body.left())));
    }
    const ReadResult got = stream_.read(into);
    if (got.status == ReadResult::Status::Later) return {Later};
    if (got.status != ReadResult::Status::Some) return {Failed, {}, Fault::ClientLeft};
    if (is_chunked) {
      buffer_.produced(got.bytes);
      continue;
    }
    replayable_ = false;
    std::size_t consumed = 0;
    return head_->body.take({into.data(), got.bytes}, consumed);
  }
}

// Room behind the head. Body bytes in the buffer have all been handed on: they make way, and can't
// be sent again.
std::span<char> H1Session::body_space() {
  if (buffer_.full()) {
    if (head_->head.head_bytes == buffer_.size()) {
      buffer_.grow(buffer_.size() + limits::kReadBufferBytes);
      head_->head.reset();
      parse_request_head(buffer_.view(), head_->head);
    } else {
      buffer_.drop_back(buffer_.size() - head_->head.head_bytes);
      taken_ = head_->head.head_bytes;
      replayable_ = false;
    }
  }
  return buffer_.space();
}

std::span<const Field> H1Session::request_trailers() const {
  return head_->body.trailers();
}

void H1Session::rewind_body() {
  taken_ = head_->head.head_bytes;
  head_->body.begin(head_->head.body);
}

bool H1Session::send_head(const ResponseHead& head, const ResponseRules& rules) {
  const std::span<char> room = out_.room(kMaxClientHeadBytes);
  const ClientHead made = to_client_head(head, rules, room.data(), room.size());
  out_.produced(made.bytes);
  response_framing_ = made.body.kind;
  response_keep_alive_ = made.keep_alive;
  return made.bytes != 0;
}

bool H1Session::send_interim(const ResponseHead& head) {
  if (facts_.version == HttpVersion::Http10) return true;  // RFC 9110 §15.2
  const std::span<char> room = out_.room(kMaxClientHeadBytes);
  out_.produced(to_client_head(head, {}, room.data(), room.size()).bytes);
  return flush();
}

bool H1Session::offer_body(std::string_view bytes) {
  return write_piece(out_, response_framing_, bytes);
}

bool H1Session::finish_body(std::span<const Field> trailers) {
  return write_end(out_, response_framing_, trailers) && flush();
}

bool H1Session::send_own(std::string_view response) {
  return out_.append(response);
}

bool H1Session::flush() {
  if (!out_.empty()) return out_.flush();
  return stream_.has_pending() ? stream_.flush() : !stream_.is_broken();
}

bool H1Session::is_gone(bool half_closed_is_gone) const {
  if (stream_.is_broken() || stream_.pollable().is(Pollable::kBroken)) return true;
  return half_closed_is_gone && stream_.pollable().is(Pollable::kPeerClosed);
}

Interest H1Session::interest(bool read, bool write, bool peer_closed) {
  std::uint8_t bits = Pollable::kBroken;  // whatever is waited for, a reset ends it
  if (read) bits |= Pollable::kReadable;
  if (write) bits |= Pollable::kWritable;
  if (peer_closed) bits |= Pollable::kPeerClosed;
  return {&stream_.pollable(), bits};
}

bool H1Session::covers(std::string_view host) const {
  if (!certificate_) return true;
  std::array<char, 256> lower;
  return certificate_->covers(lower_host(host, lower));
}

// A waiter keeps its request's bytes and nothing else: the block and the parsed head go back.
void H1Session::park() {
  buffer_.shrink();
  context_.heads.give(std::move(head_));
}

const RequestHead& H1Session::unpark() {
  if (head_) return head_->head;
  buffer_.expand();
  head_ = context_.heads.take();
  head_->head.reset();
  parse_request_head(buffer_.view(), head_->head);  // it was complete before, so it is now
  head_->body.begin(head_->head.body);
  return head_->head;
}

std::string_view H1Session::take_buffered() {
  const std::string_view rest = buffer_.view().substr(std::min(taken_, buffer_.size()));
  taken_ = buffer_.size();
  return rest;
}

}  // namespace rooster::proxy
