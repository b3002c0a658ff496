// Two Devices with their loops on one core Loop, joined by real UDP sockets on loopback, with a
// PacketPort made of vectors at each inner end.
#pragma once

#include "tunnel/device_loop.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include <sys/eventfd.h>
#include <unistd.h>

namespace rooster::tunnel {

using Bytes = std::vector<std::uint8_t>;

/// A stack that keeps what it is given and sends what the test puts in.
class FakePort final : public PacketPort {
 public:
  FakePort() : ready_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}

  int fd() const override { return ready_.get(); }
  std::span<const Packet> take() override {
    std::uint64_t count = 0;
    (void)!::read(ready_.get(), &count, sizeof count);
    lent_.clear();
    packets_.clear();
    while (!outgoing.empty() && lent_.size() < kMaxPackets) {
      lent_.push_back(std::move(outgoing.front()));
      outgoing.pop_front();
    }
    for (Bytes& bytes : lent_) packets_.emplace_back(bytes);
    return packets_;
  }
  void give(std::span<const Packet> packets) override {
    for (const Packet packet : packets) received.emplace_back(packet.begin(), packet.end());
  }
  std::uint64_t dropped() const override { return 0; }

  void put(Bytes packet) {
    outgoing.push_back(std::move(packet));
    const std::uint64_t one = 1;
    (void)!::write(ready_.get(), &one, sizeof one);
  }

  std::deque<Bytes> outgoing;
  std::vector<Bytes> received;

 private:
  Descriptor ready_;
  std::vector<Bytes> lent_;
  std::vector<Packet> packets_;
};

/// An IPv6 packet of UDP to port 53, with `payload` bytes.
inline Bytes inner_packet(const std::string& source, const std::string& destination,
                          std::size_t payload, std::uint8_t mark = 0) {
  Bytes packet(48 + payload, mark);
  std::fill(packet.begin(), packet.begin() + 48, std::uint8_t{0});
  packet[0] = 0x60;
  packet[4] = static_cast<std::uint8_t>((payload + 8) >> 8);
  packet[5] = static_cast<std::uint8_t>(payload + 8);
  packet[6] = 17;
  packet[7] = 64;
  const auto from = IpAddress::parse(source)->bytes();
  const auto to = IpAddress::parse(destination)->bytes();
  std::copy(from.begin(), from.end(), packet.begin() + 8);
  std::copy(to.begin(), to.end(), packet.begin() + 24);
  packet[43] = 53;
  return packet;
}

/// One end. Its clock can be moved forward.
struct LoopEnd {
  LoopEnd(Loop& loop, GateRules gate = {})
      : key(PrivateKey::generate(random)), device(key, {}, random) {
    DeviceLoopOptions options;
    options.gate = std::move(gate);
    options.clock = [this] {
      Moment now = system_moment();
      now.boot += ahead;
      now.wall += std::chrono::duration_cast<WallTime::duration>(ahead);
      return now;
    };
    tunnel = std::make_unique<DeviceLoop>(loop, device, port, std::move(options));
  }
  Endpoint open(const char* address) {
    auto socket = UdpSocket::bind({*IpAddress::parse(address), 0});
    EXPECT_TRUE(socket.has_value());
    tunnel->add_socket(std::move(*socket));
    return {*IpAddress::parse(address), tunnel->listen_port()};
  }
  PeerId add(const LoopEnd& other, const TunnelEndpoint& at, const char* prefix,
             std::chrono::seconds keepalive = {}) {
    PeerSettings settings;
    settings.key = other.key.public_key();
    settings.endpoint = at;
    settings.allowed_ips = {*Prefix::parse(prefix)};
    settings.keepalive = keepalive;
    const auto id = device.add_peer(settings, tunnel->now());
    EXPECT_TRUE(id.has_value());
    return id.value_or(PeerId{});
  }

  SystemRandom random;
  PrivateKey key;
  Device device;
  FakePort port;
  Duration ahead{};
  std::unique_ptr<DeviceLoop> tunnel;
};

/// Turns of `loop` until `done`, at most some seconds.
template <class Done>
bool run_until(Loop& loop, Done done) {
  for (int turn = 0; turn < 5000; ++turn) {
    if (done()) return true;
    loop.run_for(std::chrono::milliseconds(2));
  }
  return done();
}

/// A client (fdaa:0:33:a7b::2) and a gateway (fdaa:0:33::/48).
struct LoopPair {
  explicit LoopPair(bool v4 = true, GateRules gate = {})
      : client(loop), gateway(loop, std::move(gate)) {
    const char* address = v4 ? "127.0.0.1" : "::1";
    const Endpoint at = gateway.open(address);
    client.open(address);
    to_gateway = client.add(gateway, TunnelEndpoint::udp(at), "fdaa:0:33::/48");
    to_client = gateway.add(client, {}, "fdaa:0:33:a7b::/120");
    client.tunnel->start();
    gateway.tunnel->start();
  }
  ~LoopPair() {
    int stopped = 0;
    client.tunnel->stop([&stopped] { ++stopped; });
    gateway.tunnel->stop([&stopped] { ++stopped; });
    EXPECT_TRUE(run_until(loop, [&stopped] { return stopped == 2; }));
  }

  Loop loop;
  LoopEnd client;
  LoopEnd gateway;
  PeerId to_gateway{};
  PeerId to_client{};
};

}  // namespace rooster::tunnel
