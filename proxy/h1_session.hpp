// H1Session: one client connection that speaks HTTP/1: one exchange after another. It is the
// ClientSide of each.
#pragma once

#include "core/buffer.hpp"
#include "core/stream.hpp"
#include "proxy/h1_body.hpp"
#include "proxy/out_buffer.hpp"
#include "proxy/sides.hpp"

#include <array>
#include <memory>
#include <string>
#include <string_view>

namespace rooster::tls {
class Certificate;
}

namespace rooster::proxy {

class H2Session;
struct WorkerContext;
struct RequestInHand;

/// One client connection. Everything on its worker's thread. In WorkerContext::idle (a ring of
/// ClientSessions, idle longest first) while it waits for a request.
class H1Session final : public ClientSide, public ClientSession {
 public:
  H1Session(WorkerContext& context, Descriptor fd, const ClientFacts& facts);
  ~H1Session() override;

  /// Serves the connection to its end. `self` is this session: the coroutine owns it.
  static Task<> run(std::unique_ptr<H1Session> self);
  void shed() override {
    unlink();
    waiter_.interrupt(Fault::IdleTimeout);
  }

  BodyPiece next_body(std::size_t most) override;
  std::span<const Field> request_trailers() const override;
  bool body_is_replayable() const override { return replayable_; }
  void rewind_body() override;

  bool send_head(const ResponseHead& head, const ResponseRules& rules) override;
  bool send_interim(const ResponseHead& head) override;
  bool keeps_alive() const override { return response_keep_alive_; }
  bool offer_body(std::string_view bytes) override;
  bool finish_body(std::span<const Field> trailers) override;
  bool send_own(std::string_view response) override;
  bool can_take() const override { return !stream_.has_pending(); }
  bool flush() override;
  std::uint64_t delivered_bytes() const override { return stream_.delivered_bytes(); }
  bool is_gone(bool half_closed_is_gone) const override;
  Interest interest(bool read, bool write, bool peer_closed) override;
  Stream* stream() override { return &stream_; }
  std::string_view take_buffered() override;
  void park() override;
  const RequestHead& unpark() override;
  const ClientFacts& facts() const override { return facts_; }
  bool covers(std::string_view host) const override;

 private:
  Task<> secure();
  Task<> serve_one();
  ReadResult::Status fill();
  Parsed begin_head();
  Task<Parsed> read_rest_of_head();
  Duration head_timeout() const;
  const RequestHead& begin_request();
  Task<> refuse_request(Fault fault);
  bool begins_h2() const;
  static std::unique_ptr<H2Session> to_h2(std::unique_ptr<H1Session> self);
  bool leaves_by_gateway_door() const;
  void leave_by_gateway_door();
  Task<> linger();
  void cut();
  void end_exchange();
  std::span<char> body_space();

  WorkerContext& context_;
  Stream stream_;
  Waiter waiter_;
  ClientFacts facts_;
  std::shared_ptr<const tls::Certificate> certificate_;
  ReadBuffer buffer_;
  std::unique_ptr<RequestInHand>
      head_;  // only while a request is in hand, and it does not wait long
  OutBuffer out_;
  std::size_t taken_ = 0;  // of the buffer: the head and the body's bytes that came with it
  BodyKind response_framing_ = BodyKind::None;
  bool replayable_ = true;
  bool response_keep_alive_ = false;
  bool is_used_ = false;  // a request was served
  bool speaks_h2_ = false;
  bool is_handed_over_ = false;
};

}  // namespace rooster::proxy
