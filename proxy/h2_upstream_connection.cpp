#include "proxy/h2_upstream_connection.hpp"

#include "proxy/h2_upstream.hpp"
#include "proxy/worker_context.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

namespace rooster::proxy {

namespace {

constexpr int kReadsPerTurn = 16;  // then the other connections have their turn
constexpr std::int32_t kConnectionWindow = 16 * 1024 * 1024;

std::string_view view(const std::uint8_t* bytes, std::size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

H2Upstream* stream_of(nghttp2_session* session, std::int32_t id) {
  return static_cast<H2Upstream*>(nghttp2_session_get_stream_user_data(session, id));
}

}  // namespace

nghttp2_nv h2_field(std::string_view name, std::string_view value) {
  const auto bytes = [](std::string_view text) {
    return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));
  };
  return {bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

// nghttp2's callbacks. All run inside receive() or send(); a stream whose exchange has left is
// nobody's, and what comes for it is dropped.
struct H2UpstreamCallbacks {
  static H2UpstreamConnection& self(void* user) {
    return *static_cast<H2UpstreamConnection*>(user);
  }

  static int on_header(nghttp2_session* session, const nghttp2_frame* frame,
                       const std::uint8_t* name, std::size_t name_size, const std::uint8_t* value,
                       std::size_t value_size, std::uint8_t, void*) {
    H2Upstream* stream = stream_of(session, frame->hd.stream_id);
    if (stream == nullptr) return 0;
    const bool taken = stream->on_field(view(name, name_size), view(value, value_size));
    return taken ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }

  static int on_frame_recv(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type == NGHTTP2_SETTINGS && (frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
      self(user).settled_ = true;
    }
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
    H2Upstream* stream = stream_of(session, frame->hd.stream_id);
    if (stream == nullptr) return 0;
    const bool is_end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (frame->hd.type == NGHTTP2_HEADERS) {
      stream->on_fields_end(is_end);
    } else if (is_end) {
      stream->on_body_end();
    }
    return 0;
  }

  // The connection's window is opened at once: how much is kept is bounded by the streams' windows,
  // and one that nobody reads must not hold up the others.
  static int on_data(nghttp2_session* session, std::uint8_t, std::int32_t id,
                     const std::uint8_t* bytes, std::size_t size, void*) {
    if (H2Upstream* stream = stream_of(session, id)) {
      stream->on_body(view(bytes, size));
      nghttp2_session_consume_connection(session, size);
    } else {
      nghttp2_session_consume(session, id, size);
    }
    return 0;
  }

  static int on_frame_send(nghttp2_session* session, const nghttp2_frame* frame, void*) {
    if (frame->hd.type == NGHTTP2_HEADERS) {
      if (H2Upstream* stream = stream_of(session, frame->hd.stream_id)) stream->on_sent();
    }
    return 0;
  }

  static int on_stream_close(nghttp2_session* session, std::int32_t id, std::uint32_t code,
                             void* user) {
    if (H2Upstream* stream = stream_of(session, id)) stream->on_close(code);
    self(user).stream_closed();
    return 0;
  }

  static ssize_t read_body(nghttp2_session* session, std::int32_t id, std::uint8_t* into,
                           std::size_t size, std::uint32_t* flags, nghttp2_data_source*, void*) {
    H2Upstream* stream = stream_of(session, id);
    if (stream == nullptr) return NGHTTP2_ERR_DEFERRED;
    return stream->give_body({reinterpret_cast<char*>(into), size}, *flags);
  }

  static nghttp2_session* make(H2UpstreamConnection& connection) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_option* options = nullptr;
    nghttp2_option_new(&options);
    nghttp2_option_set_no_auto_window_update(options, 1);
    nghttp2_session* session = nullptr;
    nghttp2_session_client_new2(&session, callbacks, &connection, options);
    nghttp2_option_del(options);
    nghttp2_session_callbacks_del(callbacks);
    const std::array settings{
        nghttp2_settings_entry{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        nghttp2_settings_entry{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits::kUpstreamWindowBytes},
        nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits::kMaxHeadBytes}};
    nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
    nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, kConnectionWindow);
    return session;
  }
};

H2UpstreamConnection::H2UpstreamConnection(WorkerContext& context, UpstreamConnectionPtr connection,
                                           std::uint32_t max_streams)
    : context_(context),
      connection_(std::move(connection)),
      session_(H2UpstreamCallbacks::make(*this)),
      waiter_(context.sessions),
      assumed_max_streams_(max_streams),
      idle_since_(context.loop.now()) {}

H2UpstreamConnection::~H2UpstreamConnection() = default;

Task<> H2UpstreamConnection::run(H2UpstreamConnectionPtr self) {
  H2UpstreamConnection& me = *self;
  Stream& stream = me.connection_->stream;
  if (!me.send()) me.broken_ = true;
  while (!me.is_over()) {
    std::uint8_t bits = Pollable::kReadable;
    if (stream.has_pending()) bits |= Pollable::kWritable;
    const Woke woke = co_await me.waiter_.wait(me.context_.loop.now() + limits::kPoolIdle,
                                               {&stream.pollable(), bits});
    if (woke == Woke::Interrupted) {
      me.fault_ = me.waiter_.interrupted_by();
      break;
    }
    if (!me.receive() || !me.send()) break;
    const bool unused = me.context_.loop.now() - me.idle_since_ >= limits::kPoolIdle;
    if (me.open_ == 0 && (unused || me.context_.draining)) me.closing_ = true;
  }
  me.end();
  co_return {};
}

bool H2UpstreamConnection::is_over() const {
  if (broken_ || (closing_ && open_ == 0)) return true;
  return nghttp2_session_want_read(session_.get()) == 0 &&
         nghttp2_session_want_write(session_.get()) == 0 && !connection_->stream.has_pending();
}

// False: the connection is over, or speaks no HTTP/2.
bool H2UpstreamConnection::receive() {
  const std::span<char> room = context_.scratch.in_span().first(limits::kRelayBytes);
  for (int reads = 0; reads < kReadsPerTurn; ++reads) {
    const ReadResult got = connection_->stream.read(room);
    if (got.status == ReadResult::Status::Later) return true;
    if (got.status != ReadResult::Status::Some) return false;
    const ssize_t used = nghttp2_session_mem_recv(
        session_.get(), reinterpret_cast<const std::uint8_t*>(room.data()), got.bytes);
    if (used < 0) {
      fault_ = Fault::UpstreamBadResponse;
      send();  // the GOAWAY that says why
      return false;
    }
  }
  waiter_.notify();
  return true;
}

// Encodes as long as the kernel takes it, so that what waits in the stream stays small.
bool H2UpstreamConnection::send() {
  Stream& stream = connection_->stream;
  if (stream.has_pending() && !stream.flush()) return false;
  const std::span<char> out = context_.scratch.to_upstream_span();
  std::size_t used = 0;
  while (!stream.has_pending()) {
    const std::uint8_t* bytes = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session_.get(), &bytes);
    if (size < 0) return false;
    if (size == 0) break;
    const std::string_view piece = view(bytes, static_cast<std::size_t>(size));
    if (piece.size() > out.size() - used) {
      if (!stream.write({out.data(), std::exchange(used, 0)}, piece)) return false;
      continue;
    }
    std::memcpy(out.data() + used, piece.data(), piece.size());
    used += piece.size();
  }
  return used == 0 || stream.write({out.data(), used});
}

void H2UpstreamConnection::flush_soon() {
  if (dirty_ || broken_) return;
  dirty_ = true;
  context_.loop.defer([self = shared_from_this()] {
    self->dirty_ = false;
    if (self->broken_) return;
    if (!self->send()) self->broken_ = true;
    if (self->is_over() || self->connection_->stream.has_pending()) self->waiter_.notify();
  });
}

std::uint32_t H2UpstreamConnection::max_streams() const {
  if (!settled_) return assumed_max_streams_;
  return std::min<std::uint32_t>(
      limits::kUpstreamStreams,
      nghttp2_session_get_remote_settings(session_.get(), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS));
}

bool H2UpstreamConnection::has_room() const {
  return !broken_ && !closing_ && open_ < max_streams() &&
         !connection_->stream.pollable().is(Pollable::kPeerClosed | Pollable::kBroken) &&
         nghttp2_session_check_request_allowed(session_.get()) != 0;
}

void H2UpstreamConnection::close() {
  closing_ = true;
  if (open_ == 0) waiter_.notify();
}

std::int32_t H2UpstreamConnection::open(H2Upstream& stream, std::span<const nghttp2_nv> fields,
                                        bool has_body) {
  if (broken_) return -1;
  nghttp2_data_provider body{};
  body.read_callback = H2UpstreamCallbacks::read_body;
  const std::int32_t id = nghttp2_submit_request(
      session_.get(), nullptr, fields.data(), fields.size(), has_body ? &body : nullptr, &stream);
  if (id < 0) return id;
  ++open_;
  streams_.push_back(&stream);
  return id;
}

void H2UpstreamConnection::resume(std::int32_t stream) {
  if (broken_) return;
  nghttp2_session_resume_data(session_.get(), stream);
  flush_soon();
}

void H2UpstreamConnection::submit_trailers(std::int32_t stream,
                                           std::span<const std::string> texts) {
  std::vector<nghttp2_nv> fields;
  for (std::size_t at = 0; at + 1 < texts.size(); at += 2) {
    fields.push_back(h2_field(texts[at], texts[at + 1]));
  }
  nghttp2_submit_trailer(session_.get(), stream, fields.data(), fields.size());
}

void H2UpstreamConnection::consume(std::int32_t stream, std::size_t bytes) {
  if (broken_) return;
  nghttp2_session_consume_stream(session_.get(), stream, bytes);
  if (nghttp2_session_want_write(session_.get()) != 0) flush_soon();
}

void H2UpstreamConnection::leave(H2Upstream& stream, std::int32_t id, bool closed,
                                 std::uint32_t code) {
  std::erase(streams_, &stream);
  if (closed || broken_) return;
  nghttp2_session_set_stream_user_data(session_.get(), id, nullptr);
  nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, id, code);
  flush_soon();
}

void H2UpstreamConnection::stream_closed() {
  if (--open_ > 0) return;
  idle_since_ = context_.loop.now();
  if (closing_ || context_.draining || nghttp2_session_check_request_allowed(session_.get()) == 0) {
    waiter_.notify();
  }
}

void H2UpstreamConnection::end() {
  if (!broken_ && open_ == 0) nghttp2_session_terminate_session(session_.get(), NGHTTP2_NO_ERROR);
  // Once its GOAWAY is out, nghttp2 reads no more from who broke the protocol: that is no reset.
  if (!broken_) send();
  if (fault_ == Fault::UpstreamReset && nghttp2_session_want_read(session_.get()) == 0) {
    fault_ = Fault::UpstreamBadResponse;
  }
  broken_ = true;
  context_.h2_upstreams.remove(*this);
  for (H2Upstream* stream : streams_) stream->on_lost(fault_);
  connection_->stream.close();
}

}  // namespace rooster::proxy
