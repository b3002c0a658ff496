// The server's flow: accept_loop -> serve (one coroutine a connection) -> read_request -> handler
// -> write_reply.
#include "net/http_server.hpp"

#include "net/http1.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>

#include <sys/socket.h>

namespace rooster::net {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kReadBytes = 16 * 1024;
constexpr auto kChunkTime = 60s;

std::optional<PeerCredentials> credentials_of(int fd) {
  int domain = 0;
  socklen_t size = sizeof domain;
  if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_UNIX) {
    return std::nullopt;
  }
  ucred peer{};
  size = sizeof peer;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return std::nullopt;
  return PeerCredentials{peer.pid, peer.uid, peer.gid};
}

}  // namespace

Task<> BodyWriter::write(std::string text) {
  if (text.empty()) co_return {};
  if (!stream_.write(chunked_ ? encode_chunk(text) : text)) co_return Error(Fault::ClientLeft);
  co_return co_await drain(stream_, waiter_, loop().now() + kChunkTime, Fault::ClientLeft,
                           Fault::ClientLeft);
}

Task<> BodyWriter::wait(TimePoint deadline) {
  const Woke woke = co_await waiter_.wait(deadline, stream_.gone());
  if (woke == Woke::Interrupted) co_return Error(waiter_.interrupted_by());
  if (woke == Woke::Ready) co_return Error(Fault::ClientLeft);
  co_return {};
}

HttpReply HttpReply::json(std::string body, int status) {
  HttpReply reply;
  reply.status = status;
  reply.body = std::move(body);
  return reply;
}

HttpReply HttpReply::text(std::string body, int status) {
  HttpReply reply = json(std::move(body), status);
  reply.content_type = "text/plain; charset=utf-8";
  return reply;
}

struct HttpServer::Impl {
  /// An adopted connection.
  struct Client : Link {
    IpAddress source;
    Waiter* waiter = nullptr;
  };

  Impl(Loop& loop_, Descriptor listener_, Handler handler_, HttpServerLimits limits_)
      : loop(loop_), handler(std::move(handler_)), limits(limits_), group(loop_) {
    if (listener_) listener.emplace(loop_, std::move(listener_));
  }

  Task<> accept_loop();
  Task<> serve(Stream::Parts connection, std::string input, std::optional<IpAddress> source);
  Task<> take_over(Stream& stream, Waiter& waiter, HttpReply reply, std::string input);
  Task<bool> read_request(Stream& stream, Waiter& waiter, std::string& input,
                          RequestReader& reader);
  Task<bool> write_reply(Stream& stream, Waiter& waiter, HttpReply reply, bool to_head,
                         bool http_1_0, bool keep_alive);
  Task<> refuse(Stream& stream, Waiter& waiter, const Error& error);
  void accept_all();

  Loop& loop;
  std::optional<Pollable> listener;
  Handler handler;
  HttpServerLimits limits;
  TaskGroup group;
  Link clients;
  std::size_t open = 0;
  bool exhausted = false;
  Waiter* acceptor = nullptr;  // while accept_loop runs
};

void HttpServer::Impl::accept_all() {
  exhausted = false;
  while (open < limits.connections) {
    Descriptor accepted(::accept4(listener->fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (accepted) {
      ++open;
      group.spawn(serve({std::move(accepted), nullptr}, {}, std::nullopt));
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      listener->clear(Pollable::kReadable);
    } else {
      exhausted = true;  // no descriptors: look again in a while rather than at once
    }
    return;
  }
}

Task<> HttpServer::Impl::accept_loop() {
  Waiter waiter(group);
  acceptor = &waiter;
  while (true) {
    const bool waits_for_room = exhausted || open >= limits.connections;
    const Interest interest =
        waits_for_room ? Interest{} : Interest{&*listener, Pollable::kReadable};
    const TimePoint again = exhausted ? loop.now() + 1s : kNever;
    if (co_await waiter.wait(again, interest) == Woke::Interrupted) break;
    accept_all();
  }
  acceptor = nullptr;
  co_return {};
}

Task<> HttpServer::Impl::serve(Stream::Parts connection, std::string input,
                               std::optional<IpAddress> source) {
  {
    // An adopted one may be a socketpair of our own, whose credentials are ours and say nothing.
    const auto peer = source ? std::nullopt : credentials_of(connection.fd.get());
    // TLS may have read what the socket will not tell of again.
    Stream stream(loop, std::move(connection.fd), Pollable::kReadable | Pollable::kWritable);
    if (connection.ssl) stream.secure(std::move(connection.ssl));
    Waiter waiter(group);
    Client client;
    if (source) {
      client.source = *source;
      client.waiter = &waiter;
      client.link_before(clients);
    }
    bool again = true;
    while (again) {
      RequestReader reader(limits.head_bytes, limits.body_bytes);
      const auto read = co_await read_request(stream, waiter, input, reader);
      if (!read) co_await refuse(stream, waiter, read.error());
      if (!read || !*read) break;
      const bool http_1_0 = reader.is_http_1_0();
      const bool keep_alive = reader.keeps_alive();
      HttpRequest request = reader.take();
      request.peer = peer;
      request.source = source;
      auto reply = co_await handler(request, waiter);
      if (!reply) {
        co_await refuse(stream, waiter, reply.error());
        break;
      }
      if (reply->takeover) {
        co_await take_over(stream, waiter, std::move(*reply), std::move(input));
        break;
      }
      const auto written = co_await write_reply(stream, waiter, std::move(*reply),
                                                request.method == "HEAD", http_1_0, keep_alive);
      again = written && *written;
    }
    if (stream.fd() >= 0) stream.shutdown_write();
  }
  --open;
  if (acceptor != nullptr) acceptor->notify();
  co_return {};
}

// False: the client closed, or was idle for too long, between two requests.
Task<bool> HttpServer::Impl::read_request(Stream& stream, Waiter& waiter, std::string& input,
                                          RequestReader& reader) {
  TimePoint deadline = loop.now() + (input.empty() ? limits.idle_time : limits.request_time);
  bool began = !input.empty();
  bool told_to_continue = false;
  while (true) {
    const auto used = reader.put(input);
    if (!used) co_return used.error();
    input.erase(0, *used);
    if (reader.is_done()) co_return true;
    if (reader.expects_continue() && !told_to_continue) {
      told_to_continue = true;
      if (!stream.write("HTTP/1.1 100 Continue\r\n\r\n")) co_return false;
    }
    // A parser that wants more of a head than its limit would otherwise hoard.
    if (input.size() > limits.head_bytes) co_return Error(Fault::HeadTooLarge);
    const std::size_t before = input.size();
    input.resize(before + kReadBytes);
    const ReadResult got = stream.read(std::span(input).subspan(before));
    input.resize(before + got.bytes);
    if (got.status == ReadResult::Status::Some) {
      if (!began) deadline = loop.now() + limits.request_time;
      began = true;
      continue;
    }
    if (got.status != ReadResult::Status::Later) co_return false;
    const Woke woke = co_await waiter.wait(deadline, stream.readable());
    if (woke == Woke::Interrupted) co_return false;
    if (woke != Woke::Deadline) continue;
    if (!began) co_return false;
    co_return Error(reader.has_head() ? Fault::BodyTimeout : Fault::HeadTimeout);
  }
}

// True: the connection can serve another request.
Task<bool> HttpServer::Impl::write_reply(Stream& stream, Waiter& waiter, HttpReply reply,
                                         bool to_head, bool http_1_0, bool keep_alive) {
  Framing framing = Framing::Length;
  if (reply.stream) framing = http_1_0 ? Framing::UntilClose : Framing::Chunked;
  keep_alive = keep_alive && !http_1_0;
  reply.fields.emplace_back("Content-Type", reply.content_type);
  std::string bytes =
      encode_response_head(reply.status, reply.fields, framing, reply.body.size(), keep_alive);
  if (!to_head && !reply.body.empty()) {
    bytes += framing == Framing::Chunked ? encode_chunk(reply.body) : reply.body;
  }
  bool whole = stream.write(bytes);
  if (whole && reply.stream && !to_head) {
    BodyWriter writer(stream, waiter, framing == Framing::Chunked);
    const auto streamed = co_await reply.stream(writer);
    whole = streamed.has_value();
    // Without the last chunk the client knows that the reply was cut.
    if (whole && framing == Framing::Chunked) whole = stream.write(kLastChunk);
  }
  if (!whole) co_return false;
  const auto drained = co_await drain(stream, waiter, loop.now() + limits.write_time,
                                      Fault::ClientLeft, Fault::ClientLeft);
  co_return drained.has_value() && keep_alive;
}

Task<> HttpServer::Impl::take_over(Stream& stream, Waiter& waiter, HttpReply reply,
                                   std::string input) {
  if (reply.status != 0 && !stream.write(encode_upgrade_head(reply.status, reply.fields))) {
    co_return Error(Fault::ClientLeft);
  }
  co_return co_await reply.takeover(stream, std::move(input), waiter);
}

Task<> HttpServer::Impl::refuse(Stream& stream, Waiter& waiter, const Error& error) {
  const FaultText text = describe(error.fault);
  HttpReply reply;
  reply.status = text.status >= 400 ? text.status : 500;
  // Nothing that came from outside, so nothing to escape.
  reply.body = "{\"error\":\"" + std::string(text.token) + "\",\"hint\":\"" +
               std::string(text.hint) + "\"}\n";
  co_await write_reply(stream, waiter, std::move(reply), false, false, false);
  co_return {};
}

HttpServer::HttpServer(Loop& loop, Descriptor listener, Handler handler, HttpServerLimits limits)
    : impl_(std::make_unique<Impl>(loop, std::move(listener), std::move(handler), limits)) {
  if (impl_->listener) impl_->group.spawn(impl_->accept_loop());
}

void HttpServer::adopt(Descriptor connection, std::string input, const IpAddress& source) {
  adopt(Stream::Parts{std::move(connection), nullptr}, std::move(input), source);
}

void HttpServer::adopt(Stream::Parts connection, std::string input, const IpAddress& source) {
  if (impl_->open >= impl_->limits.connections) return;
  std::size_t of_source = 0;
  for (Link* node = impl_->clients.next(); node != &impl_->clients; node = node->next()) {
    if (static_cast<Impl::Client*>(node)->source == source) ++of_source;
  }
  if (of_source >= impl_->limits.per_source) return;
  ++impl_->open;
  impl_->group.spawn(impl_->serve(std::move(connection), std::move(input), source));
}

HttpServer::~HttpServer() = default;

void HttpServer::interrupt(const std::function<bool(const IpAddress& source)>& which) {
  for (Link* node = impl_->clients.next(); node != &impl_->clients; node = node->next()) {
    const auto* client = static_cast<Impl::Client*>(node);
    if (which(client->source)) client->waiter->interrupt(Fault::Interrupted);
  }
}

void HttpServer::stop(std::move_only_function<void()> done) {
  impl_->group.interrupt_all(Fault::Draining);
  impl_->group.when_empty(std::move(done));
}

std::size_t HttpServer::connections() const {
  return impl_->open;
}

}  // namespace rooster::net
