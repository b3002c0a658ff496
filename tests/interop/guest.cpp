// kernel_guest <private key> <peer's key> <preshared key> <endpoint or -> <port> <address> <peer's
// address>: inside the machine of test_kernel.py, makes the kernel's WireGuard device through the
// embeddable library. With an endpoint it calls the peer's echo, without one it waits and is one.
// Keys are base64. Linked statically: there is nothing else in that machine.
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

extern "C" {
#include <wireguard.h>
}

namespace {

constexpr char kDevice[] = "wg0";
constexpr std::size_t kBytes = 1'000'000;
constexpr std::uint16_t kEchoPort = 7;

[[noreturn]] void give_up(const char* what) {
  std::printf("guest: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

void read_key(wg_key key, const char* text) {
  wg_key_b64_string copy;
  std::snprintf(copy, sizeof copy, "%s", text);
  if (wg_key_from_base64(key, copy) != 0) give_up(text);
}

sockaddr_in6 endpoint_of(const char* address, std::uint16_t port) {
  sockaddr_in6 out{};
  out.sin6_family = AF_INET6;
  out.sin6_port = htons(port);
  if (inet_pton(AF_INET6, address, &out.sin6_addr) != 1) give_up(address);
  return out;
}

void run(const std::string& command) {
  if (std::system(command.c_str()) != 0) give_up(command.c_str());
}

void set_up(char** words) {
  wg_allowedip allowed{};
  allowed.family = AF_INET6;
  allowed.cidr = 128;
  allowed.ip6 = endpoint_of(words[7], 0).sin6_addr;
  wg_peer peer{};
  peer.flags = static_cast<wg_peer_flags>(WGPEER_HAS_PUBLIC_KEY | WGPEER_HAS_PRESHARED_KEY |
                                          WGPEER_REPLACE_ALLOWEDIPS);
  read_key(peer.public_key, words[2]);
  read_key(peer.preshared_key, words[3]);
  peer.first_allowedip = peer.last_allowedip = &allowed;
  if (std::string endpoint = words[4]; endpoint != "-") {
    const std::size_t colon = endpoint.find(':');
    peer.endpoint.addr4.sin_family = AF_INET;
    peer.endpoint.addr4.sin_port =
        htons(static_cast<std::uint16_t>(std::atoi(endpoint.c_str() + colon + 1)));
    inet_pton(AF_INET, endpoint.substr(0, colon).c_str(), &peer.endpoint.addr4.sin_addr);
  }
  wg_device device{};
  std::snprintf(device.name, sizeof device.name, "%s", kDevice);
  device.flags = static_cast<wg_device_flags>(WGDEVICE_HAS_PRIVATE_KEY | WGDEVICE_HAS_LISTEN_PORT);
  read_key(device.private_key, words[1]);
  device.listen_port = static_cast<std::uint16_t>(std::atoi(words[5]));
  device.first_peer = device.last_peer = &peer;
  if (wg_add_device(kDevice) != 0) give_up("wg_add_device");
  if (wg_set_device(&device) != 0) give_up("wg_set_device");
  run(std::string("ip address add ") + words[6] + "/64 dev wg0");
  run("ip link set wg0 mtu 1420 up");
}

std::uint8_t expected(std::size_t at) {
  return static_cast<std::uint8_t>(at * 31 + at / 251);
}

// Sends all and reads it back, piece by piece.
void call(const char* peer, const char* own) {
  const int stream = ::socket(AF_INET6, SOCK_STREAM, 0);
  const sockaddr_in6 to = endpoint_of(peer, kEchoPort);
  const sockaddr_in6 from = endpoint_of(own, 0);
  // The address was given a moment ago: until the kernel has checked it, it can't be bound.
  for (int tries = 0; ::bind(stream, reinterpret_cast<const sockaddr*>(&from), sizeof from) != 0;
       ++tries) {
    if (tries == 100) give_up("bind");
    ::usleep(100'000);
  }
  if (::connect(stream, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) give_up("connect");
  std::array<std::uint8_t, 8192> piece;
  for (std::size_t done = 0; done < kBytes; done += piece.size()) {
    for (std::size_t i = 0; i < piece.size(); ++i) piece[i] = expected(done + i);
    if (::send(stream, piece.data(), piece.size(), 0) != static_cast<ssize_t>(piece.size())) {
      give_up("send");
    }
    for (std::size_t got = 0; got < piece.size();) {
      const ssize_t more = ::recv(stream, piece.data() + got, piece.size() - got, 0);
      if (more <= 0) give_up("recv");
      got += static_cast<std::size_t>(more);
    }
    for (std::size_t i = 0; i < piece.size(); ++i) {
      if (piece[i] != expected(done + i)) give_up("other bytes came back");
    }
  }
  std::printf("guest: echoed\n");
}

// One connection's echo, to its end.
void serve(const char* own) {
  const int listener = ::socket(AF_INET6, SOCK_STREAM, 0);
  const sockaddr_in6 at = endpoint_of("::", kEchoPort);
  if (::bind(listener, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) give_up("bind");
  if (::listen(listener, 8) != 0) give_up("listen");
  std::printf("guest: serving at %s\n", own);
  std::fflush(stdout);
  const int stream = ::accept(listener, nullptr, nullptr);
  std::array<char, 8192> piece;
  std::size_t total = 0;
  for (ssize_t got; (got = ::recv(stream, piece.data(), piece.size(), 0)) > 0;) {
    if (::send(stream, piece.data(), static_cast<std::size_t>(got), 0) != got) give_up("send");
    total += static_cast<std::size_t>(got);
  }
  std::printf("guest: served %zu\n", total);
}

void tell_handshake() {
  wg_device* device = nullptr;
  if (wg_get_device(&device, kDevice) != 0) give_up("wg_get_device");
  const wg_peer* const peer = device->first_peer;
  if (peer == nullptr || peer->last_handshake_time.tv_sec == 0) give_up("no handshake");
  std::printf("guest: handshake, %llu bytes in, %llu out\n",
              static_cast<unsigned long long>(peer->rx_bytes),
              static_cast<unsigned long long>(peer->tx_bytes));
  wg_free_device(device);
}

}  // namespace

int main(int count, char** words) {
  if (count != 8) return 2;
  set_up(words);
  if (std::strcmp(words[4], "-") == 0) {
    serve(words[6]);
  } else {
    call(words[7], words[6]);
    run(std::string("ping6 -c 3 ") + words[7]);
    std::printf("guest: pinged\n");
  }
  tell_handshake();
  return 0;
}
