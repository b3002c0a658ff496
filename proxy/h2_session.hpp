// H2Session: one client connection that speaks HTTP/2 (RFC 9113), by nghttp2 without its I/O. Each
// request is an H2Stream with an exchange of its own.
#pragma once

#include "core/limits.hpp"
#include "core/stream.hpp"
#include "proxy/frame_budget.hpp"
#include "proxy/h2_head.hpp"
#include "proxy/out_buffer.hpp"
#include "proxy/pace.hpp"
#include "proxy/sides.hpp"

#include <nghttp2/nghttp2.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::tls {
class Certificate;
}

namespace rooster::proxy {

class H2Stream;
struct WorkerContext;

/// What RFC 9113 §3.3 calls the preface, as far as it is a line of HTTP/1.1.
inline constexpr std::string_view kH2PrefaceLine = "PRI * HTTP/2.0\r\n";

/// A connection that was found to speak HTTP/2, on its way from whoever accepted it.
struct H2Arrival {
  Stream::Parts connection;
  std::string input;  ///< read already
  ClientFacts facts;
  std::shared_ptr<const tls::Certificate> certificate;  ///< null without TLS
};

/// Everything on its worker's thread. In WorkerContext::idle while it has no stream.
class H2Session final : public ClientSession {
 public:
  H2Session(WorkerContext& context, H2Arrival arrival);
  ~H2Session() override;

  /// Serves the connection to its end. `self` is this session: the coroutine owns it.
  static Task<> run(std::unique_ptr<H2Session> self);
  void shed() override;

  // For its streams.
  nghttp2_session* library() const { return library_.get(); }
  const ClientFacts& facts() const { return facts_; }
  bool covers(std::string_view host) const;
  /// What was submitted leaves at the end of this turn, together with what else is submitted by
  /// then.
  void flush_soon();
  /// At once: a large body, piece by piece. Never from within one of nghttp2's callbacks.
  void flush();
  /// Bytes of all streams that wait for the client's windows, or for the end of the turn.
  void add_unsent(std::size_t bytes) { unsent_ += bytes; }
  void drop_unsent(std::size_t bytes) { unsent_ -= bytes; }
  /// The stream's exchange is over.
  void served(H2Stream& stream);
  /// Submits fields() as its final head.
  bool respond(H2Stream& stream, bool has_body);
  /// Will all that waits leave with the next flush?
  bool takes_at_once(const H2Stream& stream) const;
  std::vector<nghttp2_nv>& fields() { return fields_; }

 private:
  friend struct H2Callbacks;
  struct LibraryDeleter {
    void operator()(nghttp2_session* library) const { nghttp2_session_del(library); }
  };

  bool start();
  bool receive();
  bool feed(std::string_view bytes);
  void open(std::int32_t id, bool has_body);
  void begin_streams();
  void stream_closed(H2Stream& stream);
  void lose();
  bool is_over() const;
  bool check_time();
  TimePoint next_deadline();
  void go_away(std::uint32_t code);
  void drain();
  void discard(H2Stream& stream);
  void count(Fault fault);
  bool spend_reset();
  Task<> serve();
  Task<> linger();

  WorkerContext& context_;
  Stream stream_;
  Waiter waiter_;
  ClientFacts facts_;
  std::shared_ptr<const tls::Certificate> certificate_;
  std::unique_ptr<nghttp2_session, LibraryDeleter> library_;
  OutBuffer out_;
  H2HeadReader head_;
  std::vector<nghttp2_nv> fields_;  // while one head is taken apart
  Link streams_;                    // H2Streams
  std::vector<H2Stream*> fresh_;    // whose exchange has not begun
  std::string input_;
  std::size_t live_ = 0;
  std::size_t lingering_ = 0;  // streams that are served, and not closed: what they say waits
  std::size_t unsent_ = 0;
  TimePoint idle_since_{};
  TimePoint head_began_ = kNever;  // of an unfinished header block, or of the preface
  Pace pace_;
  FrameBudget budget_;
  TimePoint final_goaway_at_ = kNever;
  bool is_dirty_ = false;
  bool is_lost_ = false;
  bool is_leaving_ = false;
  bool is_refused_ = false;  // it cost more than it may
};

}  // namespace rooster::proxy
