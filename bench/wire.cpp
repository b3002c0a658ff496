// bench_wire <interface>: a bare WireGuard device over a TUN device, as wireguard-go is one: set up
// by `wg set` and `ip`, for bench/tunnel.py and for tests beside other implementations. Runs until
// it is killed; needs the rights to make a TUN device.
#include "tunnel/device_loop.hpp"
#include "tunnel/tun_port.hpp"
#include "tunnel/uapi_socket.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

namespace {

using namespace rooster;
using namespace rooster::tunnel;

Result<Descriptor> open_tun(const char* name) {
  Descriptor device(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  ifreq request{};
  request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
  std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  if (!device || ::ioctl(device.get(), TUNSETIFF, &request) != 0) {
    return fail(Fault::Internal, std::string("TUN device: ") + std::strerror(errno));
  }
  return device;
}

// Both families on one port; 0 takes a free one.
int listen_on(DeviceLoop& tunnel, std::uint16_t port) {
  auto four = UdpSocket::bind({*IpAddress::parse("0.0.0.0"), port});
  if (!four) return EADDRINUSE;
  tunnel.add_socket(std::move(*four));
  auto six = UdpSocket::bind({*IpAddress::parse("::"), tunnel.listen_port()});
  if (six) tunnel.add_socket(std::move(*six));
  return 0;
}

Result<> run(const std::string& name) {
  auto device = open_tun(name.c_str());
  if (!device) return fail(device.error());
  auto port = TunPort::create(std::move(*device));
  if (!port) return fail(port.error());
  Loop loop;
  SystemRandom random;
  Device wireguard(PrivateKey::generate(random), {}, random);
  DeviceLoop tunnel(loop, wireguard, **port);
  if (listen_on(tunnel, 0) != 0) return fail(Fault::Internal, "no UDP port");
  ::mkdir("/var/run/wireguard", 0755);
  UapiOptions uapi;
  uapi.path = uapi_path(name);
  uapi.apply = [&](const UapiRequest& request) {
    if (request.listen_port && *request.listen_port != tunnel.listen_port()) {
      if (const int error = listen_on(tunnel, *request.listen_port); error != 0) return error;
    }
    return apply_uapi(request, wireguard, tunnel.now());
  };
  auto socket = UapiSocket::create(tunnel, std::move(uapi));
  if (!socket) return fail(socket.error());
  tunnel.start();
  loop.run_data_path();
  return {};
}

}  // namespace

int main(int count, char** words) {
  if (count != 2) {
    std::fprintf(stderr, "usage: bench_wire <interface>\n");
    return 2;
  }
  const auto done = run(words[1]);
  if (!done) std::fprintf(stderr, "bench_wire: %s\n", done.error().detail.c_str());
  return 1;
}
