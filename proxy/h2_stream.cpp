#include "proxy/h2_stream.hpp"

#include "proxy/exchange.hpp"
#include "proxy/h2_session.hpp"
#include "proxy/head_line.hpp"
#include "proxy/record_exchange.hpp"
#include "proxy/worker_context.hpp"

#include <algorithm>
#include <utility>

namespace rooster::proxy {

namespace {

// Of a request's body: kept so that another attempt can send it again.
constexpr std::size_t kReplayBytes = 64 * 1024;
// A response leaves with the turn; a large one as soon as it fills a frame.
constexpr std::size_t kFlushBytes = 16 * 1024;

}  // namespace

H2Stream::H2Stream(WorkerContext& context, H2Session& session, std::int32_t id)
    : context_(context), session_(session), id_(id), waiter_(context.sessions) {}

H2Stream::~H2Stream() {
  session_.drop_unsent(unsent());
  context_.heads.give(std::move(head_));
}

Task<> H2Stream::serve(H2Stream& stream) {
  ExchangeEnd over;
  if (stream.fault_ == Fault::None) {
    stream.head_ = stream.context_.heads.take();
    RequestHead& head = stream.head_->head;
    head.reset();
    const Parsed parsed = parse_request_head(stream.text_, head);
    if (parsed.status == ParseStatus::Complete) {
      auto end = co_await run_exchange(stream.context_, stream, stream.waiter_, head);
      if (end) over = *end;
    } else {
      stream.fault_ = parsed.status == ParseStatus::Invalid ? parsed.fault : Fault::BadRequest;
    }
  }
  if (stream.fault_ != Fault::None) stream.refuse(stream.fault_);
  stream.finish(over);
  co_return {};
}

// A head that can't be trusted: one answer, one log line; the other streams are not concerned.
void H2Stream::refuse(Fault fault) {
  send_own(refuse_head(context_, facts(), fault));
}

void H2Stream::finish(const ExchangeEnd& end) {
  if (end.must_cut && !is_closed_) session_.flush();  // what came is the client's
  is_served_ = true;
  context_.heads.give(std::move(head_));
  if (!is_closed_) {
    if (end.must_cut || !ended_) {
      reset(NGHTTP2_INTERNAL_ERROR);
    } else if (!body_ended_) {
      // The answer is whole and what is still to come of the request is not wanted (RFC 9113 §8.1).
      stops_request_ = true;
      if (end_sent_) reset(NGHTTP2_NO_ERROR);
    }
  }
  session_.served(*this);
}

void H2Stream::reset(std::uint32_t code) {
  session_.drop_unsent(unsent());
  out_.clear();
  out_begin_ = 0;
  nghttp2_submit_rst_stream(session_.library(), NGHTTP2_FLAG_NONE, id_, code);
  session_.flush_soon();
}

// ---- what the session tells

void H2Stream::take_head(H2HeadReader::Result head, bool has_body) {
  text_ = std::move(head.text);
  fault_ = head.fault;
  is_connect_ = head.is_extended_connect;
  body_ended_ = !has_body;
}

void H2Stream::take_body(std::string_view bytes) {
  if (is_served_) return;
  if (taken_ == body_.size() && (!replayable_ || body_.size() + bytes.size() > kReplayBytes)) {
    replayable_ = replayable_ && body_.empty();
    body_.clear();
    taken_ = credited_ = 0;
  }
  body_.append(bytes);
  waiter_.notify();
}

void H2Stream::take_trailers(std::string_view lines) {
  trailer_text_ = lines;
  std::size_t start = 0;
  std::size_t scanned = 0;
  while (start < trailer_text_.size()) {
    const HeadLine line = next_line(trailer_text_, start, scanned);
    Field field;
    if (line.status != ParseStatus::Complete || !split_field(line.text, field)) break;
    if (may_be_trailer(field)) trailers_.push_back(field);
  }
}

void H2Stream::end_body() {
  body_ended_ = true;
  if (!is_served_) waiter_.notify();
}

void H2Stream::close() {
  is_closed_ = true;
  is_lost_ = !ended_ || unsent() != 0;
  session_.drop_unsent(unsent());
  out_.clear();
  out_begin_ = 0;
  if (!is_served_) waiter_.notify();
}

std::size_t H2Stream::available(bool& ended) const {
  ended = ended_;
  return unsent();
}

std::string_view H2Stream::take_output(std::size_t bytes) {
  const std::string_view piece = std::string_view(out_).substr(out_begin_, bytes);
  out_begin_ += piece.size();
  sent_bytes_ += piece.size();
  session_.drop_unsent(piece.size());
  if (out_begin_ == out_.size() && std::exchange(wants_room_, false)) waiter_.notify();
  return piece;
}

void H2Stream::end_sent() {
  end_sent_ = true;
  if (stops_request_ && !body_ended_) reset(NGHTTP2_NO_ERROR);
}

// ---- the request's body

// What the app has not taken is not given back to the client's window: a slow app slows its own
// client, and no other stream.
BodyPiece H2Stream::next_body(std::size_t most) {
  using enum BodyPiece::State;
  if (is_lost_) return {Failed, {}, Fault::ClientLeft};
  const std::string_view piece = std::string_view(body_).substr(taken_, most);
  taken_ += piece.size();
  credit();
  if (body_ended_ && taken_ == body_.size()) return {End, piece};
  return {piece.empty() ? Later : More, piece};
}

void H2Stream::credit() {
  if (taken_ <= credited_) return;
  const std::size_t taken = taken_ - std::exchange(credited_, taken_);
  if (is_closed_ || body_ended_) return;
  nghttp2_session_consume_stream(session_.library(), id_, taken);
  session_.flush_soon();
}

// ---- the response

bool H2Stream::submit(std::span<char> head, bool has_body) {
  if (is_closed_) return true;  // is_gone() says so
  begun_ = true;
  ended_ = !has_body;
  return to_h2_fields(head, session_.fields()) && session_.respond(*this, has_body);
}

bool H2Stream::send_head(const ResponseHead& head, const ResponseRules& rules) {
  const std::span<char> room = context_.scratch.to_client_span();
  const ClientHead made = to_client_head(head, rules, room.data(), room.size());
  return made.bytes != 0 && submit(room.first(made.bytes), made.body.has_body());
}

bool H2Stream::send_interim(const ResponseHead& head) {
  if (is_closed_) return true;
  const std::span<char> room = context_.scratch.to_client_span();
  const ClientHead made = to_client_head(head, {}, room.data(), room.size());
  if (made.bytes == 0 || !to_h2_fields(room.first(made.bytes), session_.fields())) return true;
  const auto& fields = session_.fields();
  nghttp2_submit_headers(session_.library(), NGHTTP2_FLAG_NONE, id_, nullptr, fields.data(),
                         fields.size(), nullptr);
  session_.flush_soon();
  return true;
}

bool H2Stream::offer_body(std::string_view bytes) {
  if (bytes.empty() || is_closed_ || ended_) return true;
  if (out_begin_ == out_.size()) {
    out_.clear();
    out_begin_ = 0;
  }
  out_.append(bytes);
  session_.add_unsent(bytes.size());
  resume();
  if (unsent() >= kFlushBytes) session_.flush();
  return true;
}

bool H2Stream::finish_body(std::span<const Field> trailers) {
  if (ended_ || is_closed_) return true;
  for (const Field& field : trailers) {
    trailers_out_.append(field.name).append(": ").append(field.value).append("\r\n");
  }
  ended_ = true;
  resume();
  return true;
}

// Written as HTTP/1.1; what only that has is left out on the way.
bool H2Stream::send_own(std::string_view response) {
  if (is_closed_) return true;
  const std::size_t head_bytes = response.find("\r\n\r\n");
  if (head_bytes == std::string_view::npos) return false;
  std::string head(response.substr(0, head_bytes + 4));
  const std::string_view body = response.substr(head.size());
  if (!submit(head, !body.empty())) return false;
  return body.empty() || (offer_body(body) && finish_body({}));
}

void H2Stream::resume() {
  if (std::exchange(is_deferred_, false)) nghttp2_session_resume_data(session_.library(), id_);
  session_.flush_soon();
}

// The end of a response needs no waiting for where everything leaves with this turn.
bool H2Stream::can_take() const {
  if (unsent() == 0 || is_closed_) return true;
  return ended_ && session_.takes_at_once(*this);
}

bool H2Stream::flush() {
  return !is_lost_;
}

bool H2Stream::is_gone(bool) const {
  return is_lost_;
}

// Nothing of the connection is waited for here: whatever happens to the stream notifies its waiter.
Interest H2Stream::interest(bool, bool write, bool) {
  wants_room_ = write;
  return {};
}

void H2Stream::park() {
  context_.heads.give(std::move(head_));
}

const RequestHead& H2Stream::unpark() {
  if (head_) return head_->head;
  head_ = context_.heads.take();
  head_->head.reset();
  parse_request_head(text_, head_->head);
  return head_->head;
}

const ClientFacts& H2Stream::facts() const {
  return session_.facts();
}

bool H2Stream::covers(std::string_view host) const {
  return session_.covers(host);
}

}  // namespace rooster::proxy
