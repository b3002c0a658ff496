// HttpServer: the small HTTP/1.1 server of the admin API, over a unix socket or loopback TCP. One
// coroutine a connection, everything bounded; keep-alive, no pipelining beyond one read, streamed
// replies as chunks.
#pragma once

#include "core/descriptor.hpp"
#include "core/loop.hpp"
#include "core/stream.hpp"
#include "core/task.hpp"
#include "net/http_message.hpp"
#include "net/listen.hpp"

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace rooster::net {

/// Where a streamed reply writes its chunks.
class BodyWriter {
 public:
  BodyWriter(Stream& stream, Waiter& waiter, bool chunked)
      : stream_(stream), waiter_(waiter), chunked_(chunked) {}
  /// Sends one chunk; returns once at most one buffer of output waits for the client.
  /// Errors: ClientLeft, also when the client takes nothing for a minute; the server's shutdown.
  Task<> write(std::string text);
  /// Suspends until Waiter::notify(), `deadline` or the client's departure (ClientLeft). For
  /// streams that wait for something to say.
  Task<> wait(TimePoint deadline);
  Waiter& waiter() { return waiter_; }
  Loop& loop() { return waiter_.loop(); }

 private:
  Stream& stream_;
  Waiter& waiter_;
  bool chunked_;
};

struct HttpReply {
  int status = 200;
  std::string content_type = "application/json";
  Fields fields;     ///< further ones
  std::string body;  ///< the whole body, or with `stream` its beginning
  /// Set: what it writes follows as chunks, and its end ends the reply.
  std::function<Task<>(BodyWriter&)> stream;
  /// Set: HTTP is over after the head (without one where the status is 0), `input` has come
  /// already, and the connection closes at its end. It may release the stream's descriptor.
  std::function<Task<>(Stream& stream, std::string input, Waiter& waiter)> takeover;

  static HttpReply json(std::string body, int status = 200);
  static HttpReply text(std::string body, int status = 200);
};

struct HttpServerLimits {
  std::size_t connections = 64;  ///< further ones wait in the backlog
  std::size_t per_source = 64;   ///< of those adopted
  std::size_t head_bytes = 16 * 1024;
  std::size_t body_bytes = 1024 * 1024;
  std::chrono::milliseconds request_time{
      10'000};  ///< for a whole request to arrive, once it has begun
  std::chrono::milliseconds idle_time{75'000};
  std::chrono::milliseconds write_time{60'000};  ///< without the client taking a byte
};

class HttpServer {
 public:
  /// `request` stays valid until the handler has returned its reply. `waiter` is the connection's:
  /// what the handler waits for, it waits for there. The handler runs on the loop's thread and must
  /// not block.
  using Handler = std::function<Task<HttpReply>(const HttpRequest& request, Waiter& waiter)>;

  /// Serves on `listener` (listening, non-blocking; unix or TCP) from now on.
  HttpServer(Loop& loop, Descriptor listener, Handler handler, HttpServerLimits limits = {});
  /// Without a listener: serves what it adopts.
  HttpServer(Loop& loop, Handler handler, HttpServerLimits limits = {})
      : HttpServer(loop, Descriptor(), std::move(handler), limits) {}
  /// After when_stopped has called back.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// Serves a connection that was accepted elsewhere, of which `input` is read already. Its
  /// requests carry `source` and no credentials. Beyond a limit of connections it is closed.
  void adopt(Descriptor connection, std::string input, const IpAddress& source);
  /// The same, for a connection that may be a TLS one.
  void adopt(Stream::Parts connection, std::string input, const IpAddress& source);

  /// Interrupts the adopted connections from such sources, whatever they are doing.
  void interrupt(const std::function<bool(const IpAddress& source)>& which);
  /// Stops accepting, interrupts all connections; `done` runs once nothing of it is left.
  void stop(std::move_only_function<void()> done);
  std::size_t connections() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rooster::net
