// H2Upstream: the app's side of an exchange as one stream of an HTTP/2 connection.
#pragma once

#include "proxy/h2_upstream_connection.hpp"
#include "proxy/sides.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::proxy {

struct Scratch;

class H2Upstream final : public UpstreamSide {
 public:
  /// `waiter` is notified of whatever comes for this stream.
  H2Upstream(H2UpstreamConnectionPtr connection, Waiter& waiter, Scratch& scratch);
  /// An exchange that ends before its stream does tells the app by RST_STREAM.
  ~H2Upstream() override;

  bool send_head(const RequestHead& head, const Forwarding& forwarding) override;
  bool offer_body(std::string_view bytes) override;
  bool finish_body(std::span<const Field> trailers) override;
  bool can_take() const override;
  bool flush() override;
  /// False as well for what the app refused unseen: REFUSED_STREAM, or above GOAWAY's last stream.
  bool has_sent() const override { return sent_ && !refused_; }

  Parsed next_head(Asked asked, ResponseHead& head) override;
  bool has_received() const override { return received_; }
  void begin_body(Framing framing, std::size_t head_bytes) override;
  BodyPiece next_body(std::size_t most) override;
  std::span<const Field> response_trailers() const override { return trailers_; }
  void park() override {}

  Interest interest(bool, bool) override { return {}; }
  Stream* stream() override { return nullptr; }
  std::string_view take_buffered() override { return {}; }

  // What the connection tells.

  /// False: more than a head may have.
  bool on_field(std::string_view name, std::string_view value);
  void on_fields_end(bool is_end);
  void on_body(std::string_view bytes);
  void on_body_end();
  void on_sent() { sent_ = true; }
  void on_close(std::uint32_t code);
  void on_lost(Fault fault);
  /// Writes the next piece of the request's body; as nghttp2's read callback.
  std::ptrdiff_t give_body(std::span<char> into, std::uint32_t& flags);

 private:
  void take_trailers();

  H2UpstreamConnectionPtr connection_;
  Waiter& waiter_;
  Scratch& scratch_;
  std::int32_t id_ = -1;

  std::string out_;  // of the request's body, from out_at_
  std::size_t out_at_ = 0;
  std::vector<std::string> trailers_out_;  // names and values in turn
  bool has_body_ = false;
  bool finished_ = false;
  bool sent_ = false;

  std::string heads_;  // as HTTP/1 text, so that the one strict parser vets them
  std::size_t heads_at_ = 0;
  int heads_ready_ = 0;
  bool final_head_is_next_ = false;
  bool final_head_ = false;  // it is here: what comes next are trailers
  std::string arrived_;
  std::string reading_;  // from reading_at_; views of it are out until the next suspension
  std::size_t reading_at_ = 0;
  std::string trailer_text_;
  std::vector<Field> trailers_;
  bool has_no_body_ = false;
  bool received_ = false;
  bool ended_ = false;
  bool closed_ = false;
  bool refused_ = false;
  Fault failed_ = Fault::None;
};

}  // namespace rooster::proxy
