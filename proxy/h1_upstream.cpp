#include "proxy/h1_upstream.hpp"

#include "proxy/worker_context.hpp"

#include <algorithm>
#include <cstring>

namespace rooster::proxy {

H1Upstream::H1Upstream(UpstreamConnectionPtr connection, Scratch& scratch)
    : connection_(std::move(connection)),
      scratch_(scratch),
      out_(connection_->stream, scratch.to_upstream_span()),
      sent_before_(connection_->stream.sent_bytes()) {}

bool H1Upstream::send_head(const RequestHead& head, const Forwarding& forwarding) {
  request_framing_ = head.body.kind;
  const std::span<char> room = out_.room(kMaxUpstreamHeadBytes);
  const std::size_t size = to_upstream_head(head, forwarding, room.data(), room.size());
  out_.produced(size);
  return size != 0;
}

bool H1Upstream::offer_body(std::string_view bytes) {
  return write_piece(out_, request_framing_, bytes);
}

bool H1Upstream::finish_body(std::span<const Field> trailers) {
  return write_end(out_, request_framing_, trailers);
}

bool H1Upstream::flush() {
  if (!out_.empty()) return out_.flush();
  return connection_->stream.has_pending() ? connection_->stream.flush() : true;
}

// Reads behind what is there. The buffer is larger than what a response leaves to come wherever
// that is possible, so that bytes behind its end show themselves now and not to the next request.
ReadResult::Status H1Upstream::fill(std::size_t most) {
  using enum ReadResult::Status;
  const std::span<char> scratch = scratch_.in_span();
  if (!window_.empty() && window_.data() != scratch.data()) {
    std::memmove(scratch.data(), window_.data(), window_.size());
    window_ = {scratch.data(), window_.size()};
    parked_.clear();
  }
  const std::span<char> room = scratch.subspan(window_.size());
  const ReadResult got = connection_->stream.read(room.first(std::min(room.size(), most)));
  if (got.status == Some) {
    window_ = {scratch.data(), window_.size() + got.bytes};
    received_ = true;
  } else if (got.status != Later) {
    broken_ = true;
  }
  return got.status;
}

Parsed H1Upstream::next_head(Asked asked, ResponseHead& head) {
  while (true) {
    if (!window_.empty()) {
      if (std::exchange(head_is_new_, false)) head.reset();
      const Parsed parsed = parse_response_head(window_, asked, head);
      if (parsed.status == ParseStatus::Complete && head.is_interim()) {
        window_.remove_prefix(head.head_bytes);  // the views into it hold until the next fill
        head_is_new_ = true;
      }
      if (parsed.status != ParseStatus::NeedMore) return parsed;
      if (window_.size() >= limits::kMaxHeadBytes) {
        return {ParseStatus::Invalid, Fault::UpstreamBadResponse};
      }
    }
    switch (fill(limits::kRelayBytes)) {
      case ReadResult::Status::Some:
        break;
      case ReadResult::Status::Later:
        return {ParseStatus::NeedMore, Fault::None};
      case ReadResult::Status::End:
      case ReadResult::Status::Failed:
        return {ParseStatus::Invalid, Fault::UpstreamReset};
    }
  }
}

void H1Upstream::begin_body(Framing framing, std::size_t head_bytes) {
  window_.remove_prefix(head_bytes);
  reader_.begin(framing);
}

BodyPiece H1Upstream::next_body(std::size_t most) {
  using enum BodyPiece::State;
  while (true) {
    if (!window_.empty() || reader_.is_done()) {
      std::size_t consumed = 0;
      BodyPiece piece = reader_.take(window_, consumed);
      window_.remove_prefix(consumed);
      if (piece.state == Failed) piece.fault = Fault::UpstreamBadResponse;
      if (piece.state != Later) return piece;
    }
    switch (fill(most)) {
      case ReadResult::Status::Some:
        break;
      case ReadResult::Status::Later:
        return {Later};
      case ReadResult::Status::End:
        if (reader_.framing().kind == BodyKind::UntilClose) return {End};
        return {Failed, {}, Fault::UpstreamTruncated};
      case ReadResult::Status::Failed:
        return {Failed, {}, Fault::UpstreamTruncated};
    }
  }
}

void H1Upstream::park() {
  head_is_new_ = true;  // the worker's head may serve another exchange meanwhile
  if (window_.empty()) {
    window_ = {};
    return;
  }
  if (window_.data() >= parked_.data() && window_.data() < parked_.data() + parked_.size()) return;
  parked_.assign(window_);
  window_ = parked_;
}

Interest H1Upstream::interest(bool read, bool write) {
  std::uint8_t bits = 0;  // a broken connection counts as readable and writable
  if (read) bits |= Pollable::kReadable;
  if (write) bits |= Pollable::kWritable;
  return {&connection_->stream.pollable(), bits};
}

std::string_view H1Upstream::take_buffered() {
  return std::exchange(window_, {});
}

}  // namespace rooster::proxy
