// bench_wire <interface> [--console]: a bare WireGuard device over a TUN device, as wireguard-go is
// one: set up by `wg set` and `ip`, for bench/tunnel.py and for tests beside other implementations.
// Runs until it is killed; needs the rights to make a TUN device. With --console it reads lines:
//   forward <seconds>   both of its clocks go on by so much
//   statistics          prints the device's counts as one line of JSON
#include "tunnel/device_loop.hpp"
#include "tunnel/tun_port.hpp"
#include "tunnel/uapi_socket.hpp"

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

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

void print(const DeviceStatistics& counts) {
  std::printf(
      "{\"cookies_sent\":%llu,\"cookies_received\":%llu,\"unauthentic\":%llu,\"wrong_mac\":%llu,"
      "\"unknown_peer\":%llu,\"replayed\":%llu,\"rate_limited\":%llu}\n",
      static_cast<unsigned long long>(counts.cookies_sent),
      static_cast<unsigned long long>(counts.cookies_received),
      static_cast<unsigned long long>(counts.unauthentic),
      static_cast<unsigned long long>(counts.wrong_mac),
      static_cast<unsigned long long>(counts.unknown_peer),
      static_cast<unsigned long long>(counts.replayed),
      static_cast<unsigned long long>(counts.rate_limited));
  std::fflush(stdout);
}

/// The lines of standard input, each to `command`.
class Console {
 public:
  Console(Loop& loop, std::function<void(std::string_view)> command)
      : command_(std::move(command)), watch_(loop, 0, [this] { read(); }) {}

 private:
  void read() {
    char piece[256];
    const ssize_t got = ::read(0, piece, sizeof piece);
    if (got <= 0) ::exit(0);  // whoever gave the commands has gone
    input_.append(piece, static_cast<std::size_t>(got));
    for (std::size_t end; (end = input_.find('\n')) != std::string::npos;) {
      command_(std::string_view(input_).substr(0, end));
      input_.erase(0, end + 1);
    }
  }

  std::function<void(std::string_view)> command_;
  std::string input_;
  Watch watch_;
};

void obey(std::string_view line, DeviceLoop& tunnel, Duration& ahead) {
  constexpr std::string_view kForward = "forward ";
  if (line == "statistics") print(tunnel.device().statistics());
  if (!line.starts_with(kForward)) return;
  long seconds = 0;
  std::from_chars(line.data() + kForward.size(), line.data() + line.size(), seconds);
  // In steps: a leap would be taken for a machine that slept, and drop all sessions.
  for (; seconds > 0; --seconds) {
    ahead += std::chrono::seconds(1);
    tunnel.poke();
  }
}

Result<> run(const std::string& name, bool with_console) {
  auto device = open_tun(name.c_str());
  if (!device) return fail(device.error());
  auto port = TunPort::create(std::move(*device));
  if (!port) return fail(port.error());
  Loop loop;
  SystemRandom random;
  Device wireguard(PrivateKey::generate(random), {}, random);
  Duration ahead{};
  DeviceLoopOptions options;
  options.clock = [&ahead] {
    Moment now = system_moment();
    now.boot += ahead;
    now.wall += std::chrono::duration_cast<WallTime::duration>(ahead);
    return now;
  };
  DeviceLoop tunnel(loop, wireguard, **port, std::move(options));
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
  std::unique_ptr<Console> console;
  if (with_console) {
    console =
        std::make_unique<Console>(loop, [&](std::string_view line) { obey(line, tunnel, ahead); });
  }
  tunnel.start();
  loop.run_data_path();
  return {};
}

}  // namespace

int main(int count, char** words) {
  const bool with_console = count == 3 && std::strcmp(words[2], "--console") == 0;
  if (count != 2 && !with_console) {
    std::fprintf(stderr, "usage: bench_wire <interface> [--console]\n");
    return 2;
  }
  const auto done = run(words[1], with_console);
  if (!done) std::fprintf(stderr, "bench_wire: %s\n", done.error().detail.c_str());
  return 1;
}
