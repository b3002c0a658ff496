// A name server on loopback that answers from a fixed directory: what the interop tests and
// bench/dns.py ask. dns_village [apps] [upstream or -] [address]; prints the port, ends when its
// input does.
#include "core/private_address.hpp"
#include "dns/name_server.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

using namespace rooster;

constexpr NetworkId kNetwork{0x000278b0};
constexpr HostId kHost{0x0a7b0001};

dns::MachineRecord machine(const char* id, const char* region, dns::MachineState state,
                           std::uint32_t number, const char* group = "app") {
  return {.id = id,
          .region = region,
          .group = group,
          .state = state,
          .address = machine_address(kNetwork, kHost, number)};
}

dns::Directory make_directory(int apps) {
  using enum dns::MachineState;
  dns::Directory directory;
  dns::AppRecord web{.name = "web", .flycast = flycast_address(kNetwork, 10)};
  web.machines = {machine("m1", "iad", Started, 1), machine("m2", "gru", Started, 2),
                  machine("m3", "ord", Stopped, 3, "worker")};
  web.machines[0].metadata = {{"role", "primary"}};
  dns::AppRecord db{.name = "db", .flycast = flycast_address(kNetwork, 11)};
  db.machines = {machine("d1", "gru", Stopped, 0xd1)};
  db.machines[0].wakeable = true;
  dns::AppRecord large{.name = "large"};
  for (std::uint32_t i = 0; i < 500; ++i) {
    const std::string id = fmt::format("{:014x}", i);
    large.machines.push_back(machine(id.c_str(), "gru", Started, 0x10000 + i));
  }
  for (auto* app : {&web, &db, &large}) directory.put_app(kNetwork, std::move(*app));
  for (int i = 0; i < apps; ++i) {
    const auto number = static_cast<std::uint32_t>(0x100000 + i);
    dns::AppRecord app{.name = fmt::format("app-{}", i)};
    app.flycast = flycast_address(kNetwork, number);
    app.machines = {machine(fmt::format("{:014x}", number).c_str(), "gru", Started, number)};
    directory.put_app(kNetwork, std::move(app));
  }
  directory.put_peer(kNetwork, {"laptop", peer_address(kNetwork, GatewayId{1}, 1)});
  directory.put_peer(kNetwork, {"interactive-1", peer_address(kNetwork, GatewayId{1}, 2)});
  return directory;
}

Descriptor bound(int kind, const Endpoint& endpoint) {
  sockaddr_storage address{};
  const socklen_t size = endpoint.to(address);
  Descriptor fd(::socket(address.ss_family, kind | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  if (kind == SOCK_STREAM) ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0) return {};
  if (kind == SOCK_STREAM && ::listen(fd.get(), 128) != 0) return {};
  return fd;
}

std::uint16_t port_of(const Descriptor& fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size);
  return Endpoint::from(address).port;
}

}  // namespace

int main(int argc, char** argv) {
  Loop loop;
  const dns::Directory directory = make_directory(argc > 1 ? std::atoi(argv[1]) : 0);
  const bool recurses = argc > 2 && std::string_view(argv[2]) != "-";
  dns::RecursorOptions recursion;
  if (recurses) recursion.upstream.servers = {argv[2]};
  dns::Recursor recursor(loop, recursion);
  dns::NameServer server(loop, directory, recurses ? &recursor : nullptr,
                         [](const IpAddress&) { return std::optional(kNetwork); });
  const auto address = IpAddress::parse(argc > 3 ? argv[3] : "127.0.0.1");
  if (!address) return 2;
  Descriptor streams;
  Descriptor datagrams;
  for (int attempt = 0; attempt < 50 && !streams; ++attempt) {  // one port for both
    datagrams = bound(SOCK_DGRAM, {*address, 0});
    streams = bound(SOCK_STREAM, {*address, port_of(datagrams)});
  }
  if (!streams) return 1;
  const std::uint16_t port = port_of(datagrams);
  server.serve_datagrams(std::move(datagrams));
  server.serve_streams(std::move(streams));
  ::fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
  const Watch input(loop, STDIN_FILENO, [&] {
    char byte;
    if (::read(STDIN_FILENO, &byte, 1) <= 0) server.stop([&] { loop.stop(); });
  });
  std::printf("%d\n", port);
  std::fflush(stdout);
  loop.run();
  return 0;
}
