#include "net/listen.hpp"

#include "core/address.hpp"
#include "net/unix_address.hpp"

#include <cerrno>
#include <cstring>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace rooster::net {
namespace {

constexpr int kBacklog = 128;

bool somebody_listens(const UnixAddress& address) {
  const Descriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return ::connect(probe.get(), address.get(), address.size()) == 0 || errno == EAGAIN;
}

}  // namespace

Result<Descriptor> listen_unix(const std::string& path, unsigned mode) {
  const auto failed = [&](const char* what) {
    return fail(Fault::Internal, path + ": " + what + ": " + std::strerror(errno));
  };
  // Bound beside, then renamed: at no moment is the path there with another mode than asked for.
  const std::string beside = path + ".new";
  const auto final_address = UnixAddress::of(path);
  const auto address = UnixAddress::of(beside);
  if (!address || !final_address) {
    return fail(Fault::Internal, path + ": too long for a unix socket; at most 103 bytes");
  }
  if (somebody_listens(*final_address)) {
    return fail(Fault::Internal,
                path + ": another process listens there; stop it, or choose another path");
  }
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return failed("socket");
  ::unlink(beside.c_str());
  if (::bind(socket.get(), address->get(), address->size()) != 0) return failed("bind");
  if (::chmod(beside.c_str(), mode) != 0) return failed("chmod");
  if (::listen(socket.get(), kBacklog) != 0) return failed("listen");
  if (::rename(beside.c_str(), path.c_str()) != 0) return failed("rename");
  return socket;
}

Result<Descriptor> listen_tcp(const std::string& address, std::uint16_t port) {
  const auto failed = [&](const char* what) {
    return fail(Fault::Internal,
                address + ":" + std::to_string(port) + ": " + what + ": " + std::strerror(errno));
  };
  const auto ip = IpAddress::parse(address);
  if (!ip) return fail(Fault::Internal, address + ": not an IP address");
  sockaddr_storage where{};
  const socklen_t size = Endpoint{*ip, port}.to(where);
  Descriptor socket(::socket(where.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return failed("socket");
  const int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&where), size) != 0) return failed("bind");
  if (::listen(socket.get(), kBacklog) != 0) return failed("listen");
  return socket;
}

}  // namespace rooster::net
