// H2Stream: one request of an HTTP/2 connection and its response: the ClientSide of one exchange.
#pragma once

#include "core/loop.hpp"
#include "proxy/h2_head.hpp"
#include "proxy/sides.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::proxy {

class H2Session;
struct ExchangeEnd;
struct RequestInHand;
struct WorkerContext;

/// Lives from its HEADERS until both its exchange and the stream are over. In its session's list.
class H2Stream final : public ClientSide, public Link {
 public:
  H2Stream(WorkerContext& context, H2Session& session, std::int32_t id);
  ~H2Stream() override;

  /// Serves its request; `stream` may be gone when it ends.
  static Task<> serve(H2Stream& stream);

  // What the session tells it, from within nghttp2's callbacks: nothing here resumes a coroutine.
  void take_head(H2HeadReader::Result head, bool has_body);
  void take_body(std::string_view bytes);
  void take_trailers(std::string_view lines);
  void end_body();
  /// The stream is closed, or the connection lost.
  void close();
  /// What DATA may carry now; `ended`: nothing follows it.
  std::size_t available(bool& ended) const;
  /// The next `bytes` of them are being sent.
  std::string_view take_output(std::size_t bytes);
  /// Nothing is available, so nghttp2 asks no more until it is told.
  void defer() { is_deferred_ = true; }
  /// Its END_STREAM has been sent.
  void end_sent();
  /// Trailers that follow the last DATA, or nothing; lines as of HTTP/1.1.
  std::string& trailers_to_send() { return trailers_out_; }

  std::int32_t id() const { return id_; }
  bool is_closed() const { return is_closed_; }
  bool is_served() const { return is_served_; }
  std::size_t unsent() const { return out_.size() - out_begin_; }

  BodyPiece next_body(std::size_t most) override;
  std::span<const Field> request_trailers() const override { return trailers_; }
  bool body_is_replayable() const override { return replayable_ && !is_connect_; }
  void rewind_body() override { taken_ = 0; }

  bool send_head(const ResponseHead& head, const ResponseRules& rules) override;
  bool send_interim(const ResponseHead& head) override;
  bool keeps_alive() const override { return true; }
  bool offer_body(std::string_view bytes) override;
  bool finish_body(std::span<const Field> trailers) override;
  bool send_own(std::string_view response) override;
  bool can_take() const override;
  bool flush() override;
  std::uint64_t delivered_bytes() const override { return sent_bytes_; }
  bool is_gone(bool half_closed_is_gone) const override;
  Interest interest(bool read, bool write, bool peer_closed) override;
  Stream* stream() override { return nullptr; }
  std::string_view take_buffered() override { return {}; }
  void park() override;
  const RequestHead& unpark() override;
  const ClientFacts& facts() const override;
  bool covers(std::string_view host) const override;

 private:
  void refuse(Fault fault);
  void finish(const ExchangeEnd& end);
  void reset(std::uint32_t code);
  void credit();
  void forget_sent_body();
  bool submit(std::span<char> head, bool has_body);
  void resume();

  WorkerContext& context_;
  H2Session& session_;
  const std::int32_t id_;
  Waiter waiter_;
  std::string text_;  // the head, as HTTP/1.1
  Fault fault_ = Fault::None;
  std::unique_ptr<RequestInHand> head_;

  std::string body_;          // what has come of the request's body and may be asked for again
  std::size_t taken_ = 0;     // of it, by the exchange
  std::size_t credited_ = 0;  // of it, given back to the client's window
  std::string trailer_text_;
  std::vector<Field> trailers_;

  std::string out_;  // what waits for the client's window, or for the end of the turn
  std::size_t out_begin_ = 0;
  std::string trailers_out_;
  std::uint64_t sent_bytes_ = 0;

  bool is_connect_ = false;  // RFC 8441
  bool body_ended_ = false;
  bool replayable_ = true;
  bool begun_ = false;     // a final head was submitted
  bool ended_ = false;     // the response is complete on our side
  bool end_sent_ = false;  // and the client's to read
  bool is_deferred_ = false;
  bool wants_room_ = false;
  bool stops_request_ = false;  // RST NO_ERROR once the response is out
  bool is_closed_ = false;
  bool is_lost_ = false;  // closed before the response was complete
  bool is_served_ = false;
};

}  // namespace rooster::proxy
