#include "keeper/hub_sockets.hpp"

#include "keeper/small_file.hpp"

#include <cerrno>
#include <cstring>
#include <system_error>

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace rooster::keeper {
namespace {

constexpr int kBacklog = 4096;

void set_option(int socket, int level, int option) {
  const int on = 1;
  ::setsockopt(socket, level, option, &on, sizeof on);
}

}  // namespace

void set_knobs() {
  for (const char* scope : {"all", "default"}) {
    const std::string folder = std::string("/proc/sys/net/ipv6/conf/") + scope;
    write_small_file(folder + "/disable_ipv6", "0");
    write_small_file(folder + "/accept_ra", "0");
    write_small_file(folder + "/accept_dad", "0");
    write_small_file(folder + "/forwarding", "0");
  }
  write_small_file("/proc/sys/net/ipv6/conf/default/addr_gen_mode", "1");  // no link-local address
  write_small_file("/proc/sys/net/ipv4/ip_forward", "0");
  // Many short connections between few addresses: each leaves a port in TIME-WAIT for a minute.
  // Timestamps make it safe to take one again after a second (RFC 6191).
  write_small_file("/proc/sys/net/ipv4/tcp_tw_reuse", "1");
}

void set_machine_knobs() {
  set_knobs();
  write_small_file("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
  const std::string range = "/proc/sys/net/ipv4/ping_group_range";
  // In a user namespace only groups that exist in it can be named.
  const std::string own = std::to_string(::getegid());
  if (!write_small_file(range, "0 2147483647")) write_small_file(range, own + ' ' + own);
}

Descriptor make_socket(int family, bool is_datagram, bool is_transparent) {
  const int type = (is_datagram ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
  Descriptor socket(::socket(family, type, 0));
  if (!socket || !is_transparent) return socket;
  const int on = 1;
  const bool is_v6 = family == AF_INET6;
  if (::setsockopt(socket.get(), is_v6 ? SOL_IPV6 : SOL_IP,
                   is_v6 ? IPV6_TRANSPARENT : IP_TRANSPARENT, &on, sizeof on) != 0)
    return {};
  // bind() to an address chooses no port yet: connect() does, and finds more of them.
  set_option(socket.get(), SOL_IP, IP_BIND_ADDRESS_NO_PORT);
  return socket;
}

Descriptor make_listener(bool is_datagram, std::uint16_t port, bool is_shared) {
  Descriptor socket = make_socket(AF_INET6, is_datagram, true);
  if (!socket) return socket;
  const int off = 0;
  ::setsockopt(socket.get(), SOL_IPV6, IPV6_V6ONLY, &off, sizeof off);
  set_option(socket.get(), SOL_SOCKET, SO_REUSEADDR);
  if (is_shared) set_option(socket.get(), SOL_SOCKET, SO_REUSEPORT);
  if (is_datagram) set_option(socket.get(), SOL_IPV6, IPV6_RECVPKTINFO);
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return {};
  if (!is_datagram && ::listen(socket.get(), kBacklog) != 0) return {};
  return socket;
}

Tun open_tun(const Hub& hub) {
  Tun tun;
  const auto give_up = [&](const char* what) {
    tun.error = what + hub.tun_device + ": " + std::system_category().message(errno);
    tun.device.reset();
  };
  tun.device = Descriptor(::open(hub.tun_device.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!tun.device) {
    give_up("open ");
    return tun;
  }
  ifreq request = {};
  std::memcpy(static_cast<char*>(request.ifr_name), hub.tun_name.data(), hub.tun_name.size());
  request.ifr_flags =
      static_cast<short>(IFF_TUN | IFF_NO_PI | (hub.tun_offload ? IFF_VNET_HDR : 0));
  if (::ioctl(tun.device.get(), TUNSETIFF, &request) != 0) {
    give_up("make a TUN device with ");
    return tun;
  }
  const Descriptor any(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (::ioctl(any.get(), SIOCGIFINDEX, &request) != 0)
    give_up("find the TUN device of ");
  else
    tun.index = static_cast<std::uint32_t>(request.ifr_ifindex);
  return tun;
}

Descriptor make_notify_socket() {
  Descriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const int on = 1;
  if (!socket || ::setsockopt(socket.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0 ||
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address),
             sizeof address.sun_family) != 0)
    return {};
  return socket;
}

Descriptor current_network_namespace() {
  return Descriptor(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
}

}  // namespace rooster::keeper
