#include "keeper/listeners.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace rooster::keeper {
namespace {

// More addresses than any configuration has; each has up to kMaxListeners sockets.
constexpr std::size_t kMaxAddresses = 1024;

struct SocketAddress {
  sockaddr_storage storage = {};
  socklen_t size = 0;
  bool is_dual = false;  // IPv6 that takes IPv4 too

  const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

SocketAddress v4(in_addr address, std::uint16_t port) {
  SocketAddress result;
  sockaddr_in in = {};
  in.sin_family = AF_INET;
  in.sin_port = htons(port);
  in.sin_addr = address;
  std::memcpy(&result.storage, &in, sizeof in);
  result.size = sizeof in;
  return result;
}

SocketAddress v6(in6_addr address, std::uint16_t port, bool is_dual) {
  SocketAddress result;
  sockaddr_in6 in = {};
  in.sin6_family = AF_INET6;
  in.sin6_port = htons(port);
  in.sin6_addr = address;
  std::memcpy(&result.storage, &in, sizeof in);
  result.size = sizeof in;
  result.is_dual = is_dual;
  return result;
}

/// The ways to bind `host`, best first; none if it is no address.
std::vector<SocketAddress> candidates(const std::string& host, std::uint16_t port) {
  in_addr four = {};
  in6_addr six = {};
  if (host.empty()) return {v6(in6addr_any, port, true), v4(four, port)};
  if (::inet_pton(AF_INET, host.c_str(), &four) == 1) return {v4(four, port)};
  if (::inet_pton(AF_INET6, host.c_str(), &six) == 1) return {v6(six, port, false)};
  return {};
}

/// A bound socket, or errno in `error`.
Descriptor bind_socket(const SocketAddress& address, bool shares_port, int& error) {
  Descriptor socket(
      ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  const int on = 1;
  const int only_v6 = address.is_dual ? 0 : 1;
  bool ok = socket && ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0;
  if (shares_port)
    ok = ok && ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0;
  if (address.storage.ss_family == AF_INET6)
    ok = ok && ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, sizeof only_v6) == 0;
  ok = ok && ::bind(socket.get(), address.raw(), address.size) == 0;
  error = ok ? 0 : errno;
  return ok ? std::move(socket) : Descriptor();
}

std::uint16_t port_of(int socket) {
  sockaddr_storage storage = {};
  socklen_t size = sizeof storage;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return 0;
  if (storage.ss_family == AF_INET6) {
    sockaddr_in6 in = {};
    std::memcpy(&in, &storage, sizeof in);
    return ntohs(in.sin6_port);
  }
  sockaddr_in in = {};
  std::memcpy(&in, &storage, sizeof in);
  return ntohs(in.sin_port);
}

Descriptor listen_on(const std::string& host, std::uint16_t port, bool is_first, int backlog,
                     int& error) {
  error = EINVAL;
  for (const SocketAddress& address : candidates(host, port)) {
    // SO_REUSEPORT would silently share the port with another program of this user: the first bind
    // goes without.
    if (is_first && port != 0 && !bind_socket(address, false, error)) {
      if (error == EADDRINUSE || error == EACCES) return {};
      continue;
    }
    Descriptor socket = bind_socket(address, true, error);
    if (!socket) continue;
    if (::listen(socket.get(), backlog) == 0) return socket;
    error = errno;
    return {};
  }
  return {};
}

Failed failure(int error, const std::string& host, std::uint16_t port) {
  return Failed{.error = error,
                .text = "listen " + (host.empty() ? "*" : host) + ':' + std::to_string(port) +
                        ": " + std::system_category().message(error)};
}

}  // namespace

Listeners::Address* Listeners::find(const std::string& name, const std::string& host,
                                    std::uint16_t port) {
  const auto it = std::ranges::find_if(addresses_, [&](const Address& one) {
    return one.name == name && one.host == host && one.port == port;
  });
  return it == addresses_.end() ? nullptr : &*it;
}

Reply Listeners::listen(const Listen& request) {
  Address* known = find(request.name, request.host, request.port);
  if (known == nullptr && addresses_.size() == kMaxAddresses)
    return failure(ENOSPC, request.host, request.port);
  Address fresh{.name = request.name, .host = request.host, .port = request.port, .sockets = {}};
  Address& address = known != nullptr ? *known : fresh;
  while (address.sockets.size() < request.count) {
    const bool is_first = address.sockets.empty();
    int error = 0;
    Descriptor socket = listen_on(request.host, is_first ? request.port : address.bound_port,
                                  is_first, request.backlog, error);
    if (!socket) return failure(error, request.host, request.port);
    if (is_first) address.bound_port = port_of(socket.get());
    address.sockets.push_back(std::move(socket));
  }
  Listening reply{.port = address.bound_port, .sockets = {}};
  for (const Descriptor& socket : address.sockets) {
    Descriptor copy(::fcntl(socket.get(), F_DUPFD_CLOEXEC, 3));
    if (!copy) return failure(errno, request.host, request.port);
    reply.sockets.push_back(std::move(copy));
  }
  if (known == nullptr) addresses_.push_back(std::move(fresh));
  return reply;
}

Reply Listeners::unlisten(const Unlisten& request) {
  Address* address = find(request.name, request.host, request.port);
  if (address == nullptr) return failure(ENOENT, request.host, request.port);
  addresses_.erase(addresses_.begin() + (address - addresses_.data()));
  return Done{};
}

}  // namespace rooster::keeper
