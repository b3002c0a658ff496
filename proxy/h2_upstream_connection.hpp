// H2UpstreamConnection: one HTTP/2 connection to a machine (h2c, prior knowledge), shared by the
// exchanges of one worker. A coroutine of its own reads and writes it; exchanges hear of what came
// for their stream by their Waiters.
#pragma once

#include "core/loop.hpp"
#include "core/task.hpp"
#include "proxy/upstream_pool.hpp"

#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::proxy {

class H2Upstream;
class H2UpstreamConnection;
struct WorkerContext;

using H2UpstreamConnectionPtr = std::shared_ptr<H2UpstreamConnection>;

struct H2SessionDeleter {
  void operator()(nghttp2_session* session) const { nghttp2_session_del(session); }
};

/// A field as nghttp2 takes it. It copies name and value, and changes neither.
nghttp2_nv h2_field(std::string_view name, std::string_view value);

class H2UpstreamConnection : public std::enable_shared_from_this<H2UpstreamConnection> {
 public:
  /// `max_streams`: what may be assumed of the app until its SETTINGS are here.
  H2UpstreamConnection(WorkerContext& context, UpstreamConnectionPtr connection,
                       std::uint32_t max_streams);
  ~H2UpstreamConnection();
  H2UpstreamConnection(const H2UpstreamConnection&) = delete;
  H2UpstreamConnection& operator=(const H2UpstreamConnection&) = delete;

  /// Serves the connection to its end: the app's, GOAWAY, idle for kPoolIdle, or close().
  static Task<> run(H2UpstreamConnectionPtr self);
  /// May another stream begin?
  bool has_room() const;
  /// No stream is open, since when; kNever while there are some.
  TimePoint idle_since() const { return open_ == 0 ? idle_since_ : kNever; }
  /// Takes no further stream and ends once the open ones are over.
  void close();
  /// Streams that the app lets be open at once.
  std::uint32_t max_streams() const;
  const UpstreamConnection& connection() const { return *connection_; }

  // For H2Upstream.

  /// Begins a stream; its id, negative where none can begin any more.
  std::int32_t open(H2Upstream& stream, std::span<const nghttp2_nv> fields, bool has_body);
  /// There is more of the request's body, or its end.
  void resume(std::int32_t stream);
  /// What follows the body; names and values in turn. From within the read callback.
  void submit_trailers(std::int32_t stream, std::span<const std::string> texts);
  /// `bytes` of the response's body have been taken: the app may send as many more.
  void consume(std::int32_t stream, std::size_t bytes);
  /// `stream` goes away; unless it is `closed` the app is told by RST_STREAM(`code`).
  void leave(H2Upstream& stream, std::int32_t id, bool closed, std::uint32_t code);
  /// Sends what is encoded at the end of this turn, once for all streams.
  void flush_soon();

 private:
  friend struct H2UpstreamCallbacks;
  bool receive();
  bool send();
  bool is_over() const;
  void stream_closed();
  void end();

  WorkerContext& context_;
  UpstreamConnectionPtr connection_;
  std::unique_ptr<nghttp2_session, H2SessionDeleter> session_;
  Waiter waiter_;
  std::vector<H2Upstream*> streams_;  // those whose exchange is still there
  std::size_t open_ = 0;              // as the app sees it
  std::uint32_t assumed_max_streams_;
  TimePoint idle_since_;
  Fault fault_ = Fault::UpstreamReset;
  bool settled_ = false;  // the app's SETTINGS are here
  bool dirty_ = false;
  bool closing_ = false;
  bool broken_ = false;
};

}  // namespace rooster::proxy
