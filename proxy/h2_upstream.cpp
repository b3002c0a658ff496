#include "proxy/h2_upstream.hpp"

#include "proxy/error_response.hpp"
#include "proxy/head_line.hpp"
#include "proxy/worker_context.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace rooster::proxy {

namespace {

constexpr std::size_t kMostFields = limits::kMaxFields + 24;  // the client's, ours, the pseudo ones

void lower_case(char* at, std::size_t size) {
  for (char* end = at + size; at != end; ++at) {
    if (*at >= 'A' && *at <= 'Z') *at = static_cast<char>(*at | 0x20);
  }
}

std::string_view take_line(std::string_view& text) {
  const std::size_t end = text.find("\r\n");
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(text.size(), line.size() + 2));
  return line;
}

// The head that an app of HTTP/1.1 would get, as fields of HTTP/2 (RFC 9113 §8.3.1): the same
// vetting for both.
class RequestFields {
 public:
  // `text` is changed: names become lower case.
  explicit RequestFields(std::span<char> text) {
    std::string_view rest{text.data(), text.size()};
    const std::string_view request = take_line(rest);
    const std::size_t method_end = request.find(' ');
    const std::size_t target_end = request.rfind(' ');
    fields_[0] = h2_field(":method", request.substr(0, method_end));
    fields_[1] = h2_field(":scheme", "http");
    fields_[2] = h2_field(":path", request.substr(method_end + 1, target_end - method_end - 1));
    count_ = 3;
    for (std::string_view line = take_line(rest); !line.empty(); line = take_line(rest)) {
      add(line, text.data() + (line.data() - text.data()));
    }
  }
  std::span<const nghttp2_nv> all() const { return {fields_.data(), count_}; }
  bool has_fitted() const { return has_fitted_; }

 private:
  void add(std::string_view line, char* name) {
    const std::size_t colon = line.find(':');
    lower_case(name, colon);
    const std::string_view lowered = line.substr(0, colon);
    const std::string_view value = trim_blanks(line.substr(colon + 1));
    if (lowered == "connection" || lowered == "transfer-encoding") return;
    has_fitted_ = has_fitted_ && count_ < fields_.size();
    if (!has_fitted_) return;
    // Host is the first of all fields: pseudo fields stay in front.
    fields_[count_++] = h2_field(lowered == "host" ? ":authority" : lowered, value);
  }

  std::array<nghttp2_nv, kMostFields> fields_;
  std::size_t count_ = 0;
  bool has_fitted_ = true;
};

}  // namespace

H2Upstream::H2Upstream(H2UpstreamConnectionPtr connection, Waiter& waiter, Scratch& scratch)
    : connection_(std::move(connection)), waiter_(waiter), scratch_(scratch) {}

H2Upstream::~H2Upstream() {
  if (id_ < 0) return;
  connection_->leave(*this, id_, closed_, ended_ ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL);
}

// ---- the request

bool H2Upstream::send_head(const RequestHead& head, const Forwarding& forwarding) {
  const std::span<char> room = scratch_.to_upstream_span().first(kMaxUpstreamHeadBytes);
  const std::size_t size = to_upstream_head(head, forwarding, room.data(), room.size());
  if (size == 0) return false;
  const RequestFields fields(room.first(size));
  if (!fields.has_fitted()) return false;
  has_body_ = head.body.has_body();
  id_ = connection_->open(*this, fields.all(), has_body_);
  if (id_ < 0) {  // the connection went down since it was chosen
    closed_ = true;
    failed_ = Fault::UpstreamReset;
  } else {
    connection_->flush_soon();
  }
  return true;
}

bool H2Upstream::offer_body(std::string_view bytes) {
  if (closed_ || !has_body_) return bytes.empty();
  out_.append(bytes);
  return true;
}

bool H2Upstream::finish_body(std::span<const Field> trailers) {
  if (!has_body_) return true;
  if (closed_) return false;
  for (const Field& field : trailers) {
    lower_case(trailers_out_.emplace_back(field.name).data(), field.name.size());
    trailers_out_.emplace_back(field.value);
  }
  finished_ = true;
  connection_->resume(id_);
  return true;
}

bool H2Upstream::can_take() const {
  return out_.size() - out_at_ < limits::kRelayBytes;
}

bool H2Upstream::flush() {
  if (closed_) return false;
  if (out_at_ < out_.size()) connection_->resume(id_);
  return true;
}

std::ptrdiff_t H2Upstream::give_body(std::span<char> into, std::uint32_t& flags) {
  const bool was_full = !can_take();
  const std::size_t size = std::min(into.size(), out_.size() - out_at_);
  std::memcpy(into.data(), out_.data() + out_at_, size);
  out_at_ += size;
  if (was_full && can_take()) waiter_.notify();
  if (out_at_ < out_.size()) return static_cast<std::ptrdiff_t>(size);
  out_.clear();
  out_at_ = 0;
  if (!finished_) return size > 0 ? static_cast<std::ptrdiff_t>(size) : NGHTTP2_ERR_DEFERRED;
  flags |= NGHTTP2_DATA_FLAG_EOF;
  if (!trailers_out_.empty()) {
    flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    connection_->submit_trailers(id_, trailers_out_);
  }
  return static_cast<std::ptrdiff_t>(size);
}

// ---- the response

bool H2Upstream::on_field(std::string_view name, std::string_view value) {
  received_ = true;
  std::string& text = final_head_ ? trailer_text_ : heads_;
  const std::size_t most = final_head_ ? kMaxTrailerBytes : limits::kMaxHeadBytes;
  if (text.size() + name.size() + value.size() + 4 > most || !is_field_text(value)) {
    failed_ = final_head_ ? Fault::UpstreamTruncated : Fault::UpstreamBadResponse;
    return false;
  }
  if (name == ":status") {
    text.append("HTTP/1.1 ").append(value).append("\r\n");
    final_head_is_next_ = !value.starts_with('1');
  } else if (is_token(name)) {
    text.append(name).append(": ").append(value).append("\r\n");
  }
  return true;
}

void H2Upstream::on_fields_end(bool is_end) {
  if (final_head_) {
    take_trailers();
  } else {
    heads_.append("\r\n");
    ++heads_ready_;
    final_head_ = final_head_is_next_;
  }
  if (is_end) on_body_end();
  waiter_.notify();
}

void H2Upstream::take_trailers() {
  std::string_view rest = trailer_text_;
  while (!rest.empty()) {
    Field field;
    if (split_field(take_line(rest), field) && may_be_trailer(field)) trailers_.push_back(field);
  }
}

void H2Upstream::on_body(std::string_view bytes) {
  arrived_.append(bytes);
  waiter_.notify();
}

void H2Upstream::on_body_end() {
  ended_ = true;
  waiter_.notify();
}

// Closed by both ends, or by RST_STREAM, or never begun: an app that has answered in full may have
// done so without hearing the request out.
void H2Upstream::on_close(std::uint32_t code) {
  closed_ = true;
  if (!ended_ && failed_ == Fault::None) {
    refused_ = code == NGHTTP2_REFUSED_STREAM && !received_;
    failed_ = code == NGHTTP2_PROTOCOL_ERROR ? Fault::UpstreamBadResponse : Fault::UpstreamReset;
  }
  waiter_.notify();
}

void H2Upstream::on_lost(Fault fault) {
  closed_ = true;
  if (!ended_ && failed_ == Fault::None) failed_ = fault;
  waiter_.notify();
}

Parsed H2Upstream::next_head(Asked asked, ResponseHead& head) {
  if (heads_ready_ == 0) {
    if (failed_ != Fault::None) return {ParseStatus::Invalid, failed_};
    return {};
  }
  --heads_ready_;
  asked.upgrade = Upgrade::None;
  head.reset();
  const Parsed parsed =
      parse_response_head(std::string_view(heads_).substr(heads_at_), asked, head);
  if (parsed.status != ParseStatus::Complete) {
    return {ParseStatus::Invalid, Fault::UpstreamBadResponse};
  }
  heads_at_ += head.head_bytes;
  head.reason = reason_phrase(head.status);
  // No bytes will come: said, so that a client of HTTP/1.1 needs no chunk to see the end.
  if (head.body.kind == BodyKind::UntilClose && ended_ && arrived_.empty() && trailers_.empty()) {
    head.body = {BodyKind::Length, 0};
    head.has_length = true;
  }
  return parsed;
}

void H2Upstream::begin_body(Framing framing, std::size_t) {
  has_no_body_ = framing.kind == BodyKind::None;
}

BodyPiece H2Upstream::next_body(std::size_t most) {
  using enum BodyPiece::State;
  if (has_no_body_) return {End, {}};
  if (reading_at_ == reading_.size()) {
    reading_.clear();
    reading_at_ = 0;
    reading_.swap(arrived_);
    if (!reading_.empty() && !ended_) connection_->consume(id_, reading_.size());
  }
  const std::string_view bytes = std::string_view(reading_).substr(reading_at_, most);
  reading_at_ += bytes.size();
  const bool is_last = reading_at_ == reading_.size() && arrived_.empty();
  if (is_last && ended_) return {End, bytes};
  if (!bytes.empty()) return {More, bytes};
  if (failed_ == Fault::None) return {Later, {}};
  return {Failed, {}, failed_ == Fault::UpstreamReset ? Fault::UpstreamTruncated : failed_};
}

}  // namespace rooster::proxy
