#include "net/dial.hpp"

#include "net/unix_address.hpp"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string_view>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace rooster::net {
namespace {

constexpr auto kBacklogRest = std::chrono::milliseconds(5);

Error connect_error(int reason, const std::string& to) {
  Fault fault = Fault::UpstreamRefused;
  if (reason == EMFILE || reason == ENFILE || reason == ENOBUFS) {
    fault = Fault::DescriptorsExhausted;
  } else if (reason == ETIMEDOUT) {
    fault = Fault::UpstreamConnectTimeout;
  }
  std::string detail = "connect";
  if (!to.empty()) detail += " to " + to;
  return Error(fault, Reached::No, detail + ": " + std::strerror(reason));
}

}  // namespace

void tune_connection(int fd) {
  const int on = 1;
  const int idle = 60;
  const int interval = 15;
  const int count = 4;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

void tune_loopback(int fd) {
  constexpr std::string_view kReno = "reno";
  ::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, kReno.data(), kReno.size());
}

Result<Descriptor> start_connect(const Endpoint& to) {
  sockaddr_storage address{};
  const socklen_t size = to.to(address);
  Descriptor socket(::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail(connect_error(errno, to.to_string()));
  const int on = 1;
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (to.address.is_loopback()) tune_loopback(socket.get());
  const int done = ::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), size);
  if (done != 0 && errno != EINPROGRESS && errno != EINTR) {
    return fail(connect_error(errno, to.to_string()));
  }
  return socket;
}

Result<> start_connect(int socket, const Endpoint& to) {
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(to.port);
  std::memcpy(&address.sin6_addr, to.address.bytes().data(), to.address.bytes().size());
  const int on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const int done = ::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address);
  if (done != 0 && errno != EINPROGRESS && errno != EINTR) {
    return fail(connect_error(errno, to.to_string()));
  }
  return {};
}

Task<> connected(Stream& stream, Waiter& waiter, TimePoint deadline) {
  const Interest outcome{&stream.pollable(), Pollable::kWritable | Pollable::kBroken};
  while (!stream.pollable().is(outcome.bits)) {
    const Woke woke = co_await waiter.wait(deadline, outcome);
    if (woke == Woke::Interrupted) co_return Error(waiter.interrupted_by(), Reached::No);
    if (woke == Woke::Deadline) {
      co_return Error(Fault::UpstreamConnectTimeout, Reached::No, "connect: no answer in time");
    }
  }
  int reason = 0;
  socklen_t size = sizeof reason;
  if (::getsockopt(stream.fd(), SOL_SOCKET, SO_ERROR, &reason, &size) != 0) reason = errno;
  if (reason != 0) co_return connect_error(reason, "");
  co_return {};
}

Task<std::unique_ptr<Stream>> dial(Endpoint to, Waiter& waiter, TimePoint deadline) {
  auto socket = start_connect(to);
  if (!socket) co_return socket.error();
  auto stream = std::make_unique<Stream>(waiter.loop(), std::move(*socket), std::uint8_t{0});
  auto done = co_await connected(*stream, waiter, deadline);
  if (!done) {
    done.error().detail += " (" + to.to_string() + ")";
    co_return done.error();
  }
  co_return stream;
}

Task<std::unique_ptr<Stream>> dial_unix(std::string path, Waiter& waiter, TimePoint deadline) {
  const auto address = UnixAddress::of(path);
  if (!address) co_return connect_error(ENAMETOOLONG, path);
  for (;;) {
    Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (socket && ::connect(socket.get(), address->get(), address->size()) == 0) {
      co_return std::make_unique<Stream>(waiter.loop(), std::move(socket));
    }
    const bool is_full = socket && errno == EAGAIN;
    Error error = connect_error(errno, path);
    // A full backlog has no other sign, and nothing tells when there is room.
    if (!is_full || Clock::now() >= deadline) co_return error;
    const Woke woke = co_await waiter.wait(Clock::now() + kBacklogRest);
    if (woke == Woke::Interrupted) co_return Error(waiter.interrupted_by(), Reached::No);
  }
}

}  // namespace rooster::net
