// H1Upstream: the app's side of an exchange over HTTP/1.1.
#pragma once

#include "proxy/h1_body.hpp"
#include "proxy/out_buffer.hpp"
#include "proxy/sides.hpp"
#include "proxy/upstream_pool.hpp"

#include <string>
#include <string_view>

namespace rooster::proxy {

struct Scratch;

class H1Upstream final : public UpstreamSide {
 public:
  H1Upstream(UpstreamConnectionPtr connection, Scratch& scratch);

  bool send_head(const RequestHead& head, const Forwarding& forwarding) override;
  bool offer_body(std::string_view bytes) override;
  bool finish_body(std::span<const Field> trailers) override;
  bool can_take() const override { return !connection_->stream.has_pending(); }
  bool flush() override;
  bool has_sent() const override { return connection_->stream.sent_bytes() != sent_before_; }

  Parsed next_head(Asked asked, ResponseHead& head) override;
  bool has_received() const override { return received_; }
  void begin_body(Framing framing, std::size_t head_bytes) override;
  BodyPiece next_body(std::size_t most) override;
  std::span<const Field> response_trailers() const override { return reader_.trailers(); }
  void park() override;

  Interest interest(bool read, bool write) override;
  Stream* stream() override { return &connection_->stream; }
  std::string_view take_buffered() override;

  /// The connection, to be pooled: only after a response that was read to its exact end.
  UpstreamConnectionPtr release() { return std::move(connection_); }
  /// Nothing is left over behind the response.
  bool is_clean() const { return !broken_ && window_.empty() && reader_.is_done(); }
  UpstreamConnection& connection() { return *connection_; }

 private:
  ReadResult::Status fill(std::size_t most);

  UpstreamConnectionPtr connection_;
  Scratch& scratch_;
  OutBuffer out_;
  BodyKind request_framing_ = BodyKind::None;
  BodyReader reader_;
  std::string_view
      window_;  // received and not yet used: in the scratch, or in parked_ after a suspension
  std::string parked_;
  std::size_t sent_before_ = 0;
  bool received_ = false;
  bool broken_ = false;
  bool head_is_new_ = true;
};

}  // namespace rooster::proxy
