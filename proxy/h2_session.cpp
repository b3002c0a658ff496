// The flow of a client's HTTP/2 connection:
//   1. start()      our SETTINGS; the client's preface is nghttp2's to check
//   2. receive()    bytes into nghttp2, whose callbacks make streams and feed them
//   3. begin_streams()  an exchange for each new stream, once nghttp2 is done with the bytes
//   4. flush()      once per turn of the loop, for all streams together
//   5. drain()      a GOAWAY that still lets requests on their way in, then the final one
#include "proxy/h2_session.hpp"

#include "proxy/h2_stream.hpp"
#include "proxy/host_name.hpp"
#include "proxy/linger.hpp"
#include "proxy/listener.hpp"
#include "proxy/worker_context.hpp"
#include "tls/certificate.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace rooster::proxy {

namespace {

constexpr int kReadsPerTurn = 4;
constexpr std::size_t kMostFields = 10 * limits::kMaxFields;  // of one block, kept or not
constexpr auto kGoawayGrace = std::chrono::seconds(1);        // a round trip, and some more

struct OptionDeleter {
  void operator()(nghttp2_option* option) const { nghttp2_option_del(option); }
};
struct CallbacksDeleter {
  void operator()(nghttp2_session_callbacks* callbacks) const {
    nghttp2_session_callbacks_del(callbacks);
  }
};

std::string_view text_of(const std::uint8_t* bytes, std::size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

}  // namespace

/// nghttp2's callbacks. None of them resumes a coroutine or calls nghttp2 back to read or write.
struct H2Callbacks {
  static H2Session& session_of(void* user) { return *static_cast<H2Session*>(user); }
  static H2Stream* stream_of(nghttp2_session* library, std::int32_t id) {
    return static_cast<H2Stream*>(nghttp2_session_get_stream_user_data(library, id));
  }

  // Frames of unknown types are skipped by the library unseen, for less than it costs to send them.
  static int begin_frame(nghttp2_session*, const nghttp2_frame_hd*, void* user) {
    H2Session& session = session_of(user);
    if (session.budget_.take_frame(session.context_.loop.now())) return 0;
    session.is_refused_ = true;
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  }

  static int begin_headers(nghttp2_session*, const nghttp2_frame*, void* user) {
    H2Session& session = session_of(user);
    session.head_.begin();
    session.head_began_ = session.context_.loop.now();
    return 0;
  }

  static int header(nghttp2_session*, const nghttp2_frame*, const std::uint8_t* name,
                    std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                    std::uint8_t, void* user) {
    H2HeadReader& head = session_of(user).head_;
    head.add(text_of(name, name_size), text_of(value, value_size));
    return head.fields() > kMostFields ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
  }

  static int frame(nghttp2_session* library, const nghttp2_frame* frame, void* user) {
    H2Session& session = session_of(user);
    const bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
        session.head_began_ = kNever;
        session.budget_.use();
        if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
          session.open(frame->hd.stream_id, !ends);
          return 0;
        }
        if (H2Stream* stream = stream_of(library, frame->hd.stream_id)) {
          stream->take_trailers(session.head_.trailers());
          if (ends) stream->end_body();
        }
        return 0;
      case NGHTTP2_DATA:
        if (H2Stream* stream = stream_of(library, frame->hd.stream_id); stream && ends) {
          stream->end_body();
        }
        return 0;
      case NGHTTP2_RST_STREAM:
        return session.spend_reset() ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
      case NGHTTP2_SETTINGS:
        session.head_began_ = kNever;  // the preface is whole
        return 0;
      default:
        return 0;
    }
  }

  static int invalid_frame(nghttp2_session*, const nghttp2_frame*, int, void* user) {
    session_of(user).head_began_ = kNever;
    return 0;
  }

  // The connection's window is open again at once: what lies here is bounded by the streams' own.
  static int data(nghttp2_session* library, std::uint8_t, std::int32_t id,
                  const std::uint8_t* bytes, std::size_t size, void* user) {
    session_of(user).budget_.use();
    nghttp2_session_consume_connection(library, size);
    if (H2Stream* stream = stream_of(library, id)) stream->take_body(text_of(bytes, size));
    return 0;
  }

  static int closed(nghttp2_session* library, std::int32_t id, std::uint32_t, void* user) {
    if (H2Stream* stream = stream_of(library, id)) session_of(user).stream_closed(*stream);
    return 0;
  }

  static int sent(nghttp2_session* library, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type == NGHTTP2_DATA) session_of(user).budget_.use();
    if (frame->hd.type == NGHTTP2_RST_STREAM) {
      // MadeYouReset: what makes us reset a stream is the client's doing, but for these.
      const std::uint32_t code = frame->rst_stream.error_code;
      if (code != NGHTTP2_NO_ERROR && code != NGHTTP2_INTERNAL_ERROR)
        session_of(user).spend_reset();
      return 0;
    }
    const bool is_message = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    if (!is_message || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
    if (H2Stream* stream = stream_of(library, frame->hd.stream_id)) stream->end_sent();
    return 0;
  }

  static ssize_t read(nghttp2_session* library, std::int32_t id, std::uint8_t*, std::size_t room,
                      std::uint32_t* flags, nghttp2_data_source* source, void* user) {
    auto* stream = static_cast<H2Stream*>(source->ptr);
    bool ended = false;
    const std::size_t available = stream->available(ended);
    if (available == 0 && !ended) {
      stream->defer();
      return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (!ended || available > room) return static_cast<ssize_t>(std::min(available, room));
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (std::string& trailers = stream->trailers_to_send(); !trailers.empty()) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      auto& fields = session_of(user).fields_;
      to_h2_trailers(trailers, fields);
      nghttp2_submit_trailer(library, id, fields.data(), fields.size());
    }
    return static_cast<ssize_t>(available);
  }

  static int write(nghttp2_session*, nghttp2_frame*, const std::uint8_t* header, std::size_t size,
                   nghttp2_data_source* source, void* user) {
    constexpr std::size_t kFrameHeader = 9;
    OutBuffer& out = session_of(user).out_;
    out.append(text_of(header, kFrameHeader));
    out.append(static_cast<H2Stream*>(source->ptr)->take_output(size));
    return 0;
  }

  /// For all sessions; never changed.
  static const nghttp2_session_callbacks* all() {
    static const std::unique_ptr<nghttp2_session_callbacks, CallbacksDeleter> kAll = [] {
      nghttp2_session_callbacks* made = nullptr;
      nghttp2_session_callbacks_new(&made);
      nghttp2_session_callbacks_set_on_begin_frame_callback(made, begin_frame);
      nghttp2_session_callbacks_set_on_begin_headers_callback(made, begin_headers);
      nghttp2_session_callbacks_set_on_header_callback(made, header);
      nghttp2_session_callbacks_set_on_frame_recv_callback(made, frame);
      nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(made, invalid_frame);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, data);
      nghttp2_session_callbacks_set_on_stream_close_callback(made, closed);
      nghttp2_session_callbacks_set_on_frame_send_callback(made, sent);
      nghttp2_session_callbacks_set_send_data_callback(made, write);
      return std::unique_ptr<nghttp2_session_callbacks, CallbacksDeleter>(made);
    }();
    return kAll.get();
  }

  static const nghttp2_option* options() {
    static const std::unique_ptr<nghttp2_option, OptionDeleter> kOptions = [] {
      nghttp2_option* made = nullptr;
      nghttp2_option_new(&made);
      nghttp2_option_set_no_auto_window_update(made, 1);
      nghttp2_option_set_no_closed_streams(made, 1);
      nghttp2_option_set_server_fallback_rfc7540_priorities(made, 0);
      nghttp2_option_set_builtin_recv_extension_type(made, NGHTTP2_PRIORITY_UPDATE);
      return std::unique_ptr<nghttp2_option, OptionDeleter>(made);
    }();
    return kOptions.get();
  }
};

H2Session::H2Session(WorkerContext& context, H2Arrival arrival)
    : context_(context),
      stream_(context.loop, std::move(arrival.connection.fd),
              Pollable::kReadable | Pollable::kWritable),
      waiter_(context.sessions),
      facts_(arrival.facts),
      certificate_(std::move(arrival.certificate)),
      out_(stream_, context.scratch.to_client_span()),
      input_(std::move(arrival.input)),
      idle_since_(context.loop.now()),
      budget_(context.loop.now()) {
  facts_.version = HttpVersion::Http2;
  if (arrival.connection.ssl) stream_.secure(std::move(arrival.connection.ssl));
}

H2Session::~H2Session() {
  context_.metrics.connections_closed.add();
  context_.budget.clients.fetch_sub(1, std::memory_order_relaxed);
  if (facts_.source_limit != nullptr) facts_.source_limit->leave(facts_.peer_address);
}

Task<> H2Session::run(std::unique_ptr<H2Session> self) {
  H2Session& session = *self;
  const bool says_goodbye = session.start() && static_cast<bool>(co_await session.serve());
  session.flush();
  const bool may_linger = says_goodbye && !session.is_lost_;
  session.lose();
  // Their exchanges end by themselves now, and what was deferred needs this session.
  while (session.live_ > 0 || session.is_dirty_) {
    session.waiter_.calm();
    co_await session.waiter_.wait(kNever);
  }
  if (may_linger) co_await session.linger();
  co_return {};
}

bool H2Session::start() {
  nghttp2_session* made = nullptr;
  if (nghttp2_session_server_new2(&made, H2Callbacks::all(), this, H2Callbacks::options()) != 0) {
    return false;
  }
  library_.reset(made);
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits::kH2Streams},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits::kH2StreamWindow},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits::kMaxHeadBytes},
      {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
  };
  nghttp2_submit_settings(made, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  nghttp2_session_set_local_window_size(made, NGHTTP2_FLAG_NONE, 0, limits::kH2ConnectionWindow);
  head_began_ = context_.loop.now();
  flush_soon();
  const std::string input = std::exchange(input_, {});
  return input.empty() || feed(input);
}

// An Error: the client is gone already, nothing can be said to it.
Task<> H2Session::serve() {
  while (true) {
    if (stream_.has_pending() && stream_.pollable().is(Pollable::kWritable)) {
      if (!stream_.flush()) co_return Error(Fault::ClientLeft);
      flush_soon();
    }
    if (!receive()) co_return Error(Fault::ClientLeft);
    if (is_refused_) {
      count(Fault::BadRequest);
      go_away(NGHTTP2_ENHANCE_YOUR_CALM);
      co_return {};
    }
    if (is_over()) co_return {};
    if (context_.draining) drain();
    Interest interest = stream_.readable();
    if (stream_.has_pending()) interest.bits |= Pollable::kWritable;
    if (live_ == 0) link_before(context_.idle);
    const Woke woke = co_await waiter_.wait(next_deadline(), interest);
    unlink();
    if (woke == Woke::Interrupted) {
      go_away(NGHTTP2_NO_ERROR);
      co_return {};
    }
    if (!check_time()) co_return {};
  }
}

bool H2Session::is_over() const {
  return nghttp2_session_want_read(library_.get()) == 0 &&
         nghttp2_session_want_write(library_.get()) == 0 && !stream_.has_pending();
}

// False: the client is gone.
bool H2Session::receive() {
  for (int reads = 0; reads < kReadsPerTurn; ++reads) {
    if (is_lost_) return false;
    if (!stream_.may_read()) return true;
    const std::span<char> into = context_.scratch.in_span().first(limits::kRelayBytes);
    const ReadResult got = stream_.read(into);
    if (got.status == ReadResult::Status::Later) return true;
    if (got.status != ReadResult::Status::Some) return false;
    if (!feed({into.data(), got.bytes})) return true;
  }
  waiter_.notify();  // there may be more, after the others' turn
  return true;
}

// False: nothing more is read of this client; is_over() once it has been told.
bool H2Session::feed(std::string_view bytes) {
  const ssize_t fed = nghttp2_session_mem_recv(
      library_.get(), reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  if (fed == NGHTTP2_ERR_BAD_CLIENT_MAGIC) {
    go_away(NGHTTP2_PROTOCOL_ERROR);
  } else if (fed < 0) {
    is_refused_ = true;
  }
  begin_streams();
  flush_soon();
  return fed >= 0;
}

void H2Session::open(std::int32_t id, bool has_body) {
  // Streams that were reset wind down for a moment, beside those that count as open.
  if (live_ >= 2 * limits::kH2Streams) {
    nghttp2_submit_rst_stream(library_.get(), NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
    return;
  }
  auto stream = std::make_unique<H2Stream>(context_, *this, id);
  stream->take_head(head_.finish(has_body, context_.random()), has_body);
  stream->link_before(streams_);
  nghttp2_session_set_stream_user_data(library_.get(), id, stream.get());
  fresh_.push_back(stream.release());
  ++live_;
}

// One that was reset before it could begin costs no exchange.
void H2Session::begin_streams() {
  for (std::size_t i = 0; i < fresh_.size(); ++i) {
    H2Stream& stream = *fresh_[i];
    if (stream.is_closed()) {
      discard(stream);
    } else {
      context_.sessions.spawn(H2Stream::serve(stream));
    }
  }
  fresh_.clear();
}

void H2Session::stream_closed(H2Stream& stream) {
  stream.close();
  if (!stream.is_served()) return;
  --lingering_;
  discard(stream);
}

void H2Session::served(H2Stream& stream) {
  if (stream.is_closed()) return discard(stream);
  ++lingering_;
}

void H2Session::discard(H2Stream& stream) {
  if (!is_lost_) {
    nghttp2_session_set_stream_user_data(library_.get(), stream.id(), nullptr);
  }
  delete &stream;
  if (--live_ > 0) return;
  idle_since_ = context_.loop.now();
  waiter_.notify();
}

bool H2Session::respond(H2Stream& stream, bool has_body) {
  nghttp2_data_provider provider{};
  provider.source.ptr = &stream;
  provider.read_callback = H2Callbacks::read;
  const int failed = nghttp2_submit_response(library_.get(), stream.id(), fields_.data(),
                                             fields_.size(), has_body ? &provider : nullptr);
  flush_soon();
  return failed == 0;
}

bool H2Session::takes_at_once(const H2Stream& stream) const {
  if (stream_.has_pending()) return false;
  const std::int32_t all = nghttp2_session_get_remote_window_size(library_.get());
  const std::int32_t own =
      nghttp2_session_get_stream_remote_window_size(library_.get(), stream.id());
  return all > 0 && own > 0 && unsent_ <= static_cast<std::size_t>(all) &&
         stream.unsent() <= static_cast<std::size_t>(own);
}

void H2Session::flush_soon() {
  if (std::exchange(is_dirty_, true)) return;
  context_.loop.defer([this] {
    is_dirty_ = false;
    flush();
    if (is_lost_ || is_over()) waiter_.notify();
  });
}

void H2Session::flush() {
  if (is_lost_ || !library_) return;
  while (!stream_.has_pending()) {
    const std::uint8_t* bytes = nullptr;
    const ssize_t size = nghttp2_session_mem_send(library_.get(), &bytes);
    if (size < 0) return lose();
    if (size == 0) break;
    out_.append(text_of(bytes, static_cast<std::size_t>(size)));
  }
  if (!out_.flush() || stream_.is_broken()) return lose();
  if (stream_.has_pending() || lingering_ > 0) waiter_.notify();  // its wait needs a deadline now
}

// The connection is no more: every stream learns it at its next step.
void H2Session::lose() {
  if (std::exchange(is_lost_, true)) return;
  for (Link* node = streams_.next(); node != &streams_;) {
    auto& stream = *static_cast<H2Stream*>(node);
    node = node->next();
    const bool was_closed = stream.is_closed();
    stream.close();
    if (stream.is_served() && !was_closed) discard(stream);
  }
  waiter_.notify();
}

void H2Session::go_away(std::uint32_t code) {
  nghttp2_session_terminate_session(library_.get(), code);
  flush_soon();
}

// Requests on their way are still served; after a round trip the last one is known (RFC 9113 §6.8).
void H2Session::drain() {
  if (std::exchange(is_leaving_, true)) return;
  nghttp2_submit_shutdown_notice(library_.get());
  final_goaway_at_ = context_.loop.now() + kGoawayGrace;
  flush_soon();
}

TimePoint H2Session::next_deadline() {
  const TimePoint now = context_.loop.now();
  TimePoint deadline = final_goaway_at_;
  if (live_ == 0) deadline = std::min(deadline, idle_since_ + Duration(limits::kIdleClientTimeout));
  if (head_began_ != kNever) {
    deadline = std::min(deadline, head_began_ + Duration(limits::kHeadTimeout));
  }
  if (stream_.has_pending() || lingering_ > 0) {
    pace_.begin(now, [this] { return stream_.delivered_bytes(); });
    deadline = std::min(deadline, pace_.deadline());
  } else {
    pace_.end();
  }
  return deadline;
}

// False: the connection has to end, and was told why if it can still hear.
bool H2Session::check_time() {
  const TimePoint now = context_.loop.now();
  if (now >= final_goaway_at_) {
    final_goaway_at_ = kNever;
    nghttp2_submit_goaway(library_.get(), NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(library_.get()), NGHTTP2_NO_ERROR,
                          nullptr, 0);
    flush_soon();
  }
  if (head_began_ != kNever && now >= head_began_ + Duration(limits::kHeadTimeout)) {
    count(Fault::HeadTimeout);
    go_away(NGHTTP2_ENHANCE_YOUR_CALM);
    return false;
  }
  if (live_ == 0 && now >= idle_since_ + Duration(limits::kIdleClientTimeout)) {
    go_away(NGHTTP2_NO_ERROR);
    return false;
  }
  const bool is_slow = (stream_.has_pending() || lingering_ > 0) &&
                       !pace_.keeps_up(now, [this] { return stream_.delivered_bytes(); });
  if (!is_slow) return true;
  count(Fault::BodyTimeout);
  lose();
  return false;
}

void H2Session::count(Fault fault) {
  context_.metrics.faults[static_cast<std::size_t>(fault)].add();
}

// False: it has spent too much, and the connection ends at the next step.
bool H2Session::spend_reset() {
  if (budget_.take_reset(context_.loop.now())) return true;
  is_refused_ = true;
  waiter_.notify();
  return false;
}

void H2Session::shed() {
  unlink();
  waiter_.interrupt(Fault::IdleTimeout);
}

bool H2Session::covers(std::string_view host) const {
  if (!certificate_) return true;
  std::array<char, 256> lower;
  return certificate_->covers(lower_host(host, lower));
}

// FIN first, then what the client still sends is read and dropped for a moment: closing over unread
// bytes would reset the connection, and the GOAWAY with it.
Task<> H2Session::linger() {
  stream_.shutdown_write();
  co_return co_await proxy::linger(context_, stream_, waiter_);
}

}  // namespace rooster::proxy
