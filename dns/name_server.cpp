#include "dns/name_server.hpp"

#include "core/limits.hpp"
#include "dns/udp_service.hpp"

#include <array>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/socket.h>

namespace rooster::dns {
namespace {

constexpr int kAcceptsPerTurn = 32;
constexpr std::size_t kScratchBytes = kMaxMessageBytes + 2;

bool is_exhausted(int reason) {
  return reason == EMFILE || reason == ENFILE || reason == ENOBUFS || reason == ENOMEM;
}

}  // namespace

NameServer::NameServer(Loop& loop, const Directory& directory, Recursor* recursor,
                       NetworkOf network_of, NameServerOptions options)
    : group_(loop),
      responder_(directory, recursor, std::move(network_of), options.answers),
      options_(std::move(options)),
      scratch_(std::make_unique_for_overwrite<char[]>(kScratchBytes)) {}

NameServer::~NameServer() = default;

void NameServer::serve_datagrams(Descriptor fd) {
  datagrams_.push_back(std::make_unique<UdpService>(group_, std::move(fd), responder_));
  group_.spawn(datagrams_.back()->run());
}

void NameServer::serve_streams(Descriptor fd) {
  ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
  group_.spawn(
      accept_loop(std::make_unique<Pollable>(group_.loop(), std::move(fd), Pollable::kReadable)));
}

void NameServer::serve_stream(Descriptor fd, const IpAddress& source) {
  group_.spawn(serve_session(std::move(fd), source));
}

void NameServer::serve_query(const IpAddress& source, std::string query, Send send) {
  std::array<char, kMaxUdpBytes> reply;
  const Responder::Outcome outcome = responder_.respond(source, query, Carrier::Datagram, reply);
  if (outcome.next == Responder::Next::Send) send({reply.data(), outcome.size});
  if (outcome.next != Responder::Next::Wait) return;
  group_.spawn(answer_later(source, std::move(query), std::move(send)));
}

Task<> NameServer::answer_later(IpAddress source, std::string query, Send send) {
  Waiter waiter(group_);
  std::array<char, kMaxUdpBytes> reply;
  const auto size = co_await responder_.recurse(source, query, Carrier::Datagram, reply, waiter);
  if (size && *size > 0) send({reply.data(), *size});
  co_return {};
}

void NameServer::stop(std::move_only_function<void()> done) {
  group_.interrupt_all(Fault::Draining);
  group_.when_empty(std::move(done));
}

Task<> NameServer::accept_loop(std::unique_ptr<Pollable> listener) {
  Waiter waiter(group_);
  while (!waiter.is_interrupted()) {
    TimePoint until = kNever;
    int accepted = 0;
    for (; accepted < kAcceptsPerTurn; ++accepted) {
      sockaddr_storage from{};
      socklen_t size = sizeof from;
      Descriptor fd(::accept4(listener->fd(), reinterpret_cast<sockaddr*>(&from), &size,
                              SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (fd) {
        group_.spawn(serve_session(std::move(fd), Endpoint::from(from).address));
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        listener->clear(Pollable::kReadable);
        break;
      } else if (is_exhausted(errno)) {
        until = group_.loop().now() + limits::kTick;
        break;
      }  // ECONNABORTED and the like: that client is gone
    }
    if (accepted == kAcceptsPerTurn) waiter.notify();
    // With descriptors exhausted the listener stays readable: only time helps.
    const Interest interest =
        until == kNever ? Interest{listener.get(), Pollable::kReadable} : Interest{};
    co_await waiter.wait(until, interest);
  }
  co_return {};
}

Task<> NameServer::serve_session(Descriptor fd, IpAddress source) {
  std::size_t& own = sessions_of_[source];
  if (sessions_ >= options_.sessions || own >= options_.sessions_per_source) {
    if (own == 0) sessions_of_.erase(source);
    co_return {};
  }
  ++own;
  ++sessions_;
  ++responder_.counts().sessions;
  const auto session =
      std::make_shared<TcpSession>(group_, std::move(fd), source, responder_,
                                   std::span(scratch_.get(), kScratchBytes), options_.session);
  (void)co_await session->run();
  --sessions_;
  if (const auto left = sessions_of_.find(source); --left->second == 0) sessions_of_.erase(left);
  co_return {};
}

}  // namespace rooster::dns
