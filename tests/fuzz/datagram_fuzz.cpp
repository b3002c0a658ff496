// Any datagrams at a Device, between those of a peer it has a session with: raw ones, and real ones
// with changed bytes. Nothing but the peer's own packets comes out, and strangers hear nothing that
// is larger than what they sent.
#include "tunnel/device.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

namespace {

using namespace rooster;
using namespace rooster::tunnel;
using namespace std::chrono_literals;
using Data = std::vector<std::uint8_t>;

void require(bool holds) {
  if (!holds) std::abort();
}

class CountingRandom final : public RandomSource {
 public:
  explicit CountingRandom(std::uint64_t seed) : state_(seed) {}
  void fill(std::span<std::uint8_t> out) override {
    for (auto& byte : out) {
      state_ = state_ * 6364136223846793005 + 1442695040888963407;
      byte = static_cast<std::uint8_t>(state_ >> 56);
    }
  }

 private:
  std::uint64_t state_;
};

/// What the input says, byte by byte; zeros beyond its end.
class Script {
 public:
  Script(const std::uint8_t* data, std::size_t size) : rest_(data, size) {}
  bool is_over() const { return rest_.empty(); }
  std::uint8_t byte() {
    if (rest_.empty()) return 0;
    const std::uint8_t first = rest_[0];
    rest_ = rest_.subspan(1);
    return first;
  }
  Data bytes(std::size_t count) {
    count = std::min(count, rest_.size());
    Data taken(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(count));
    rest_ = rest_.subspan(count);
    return taken;
  }

 private:
  std::span<const std::uint8_t> rest_;
};

Data packet_to(std::uint8_t last, std::size_t payload) {
  Data packet(40 + payload, 0x5a);
  packet[0] = 0x60;
  packet[1] = packet[2] = packet[3] = packet[4] = 0;
  packet[5] = static_cast<std::uint8_t>(payload);
  std::fill_n(packet.begin() + 8, 32, std::uint8_t{0});
  packet[8] = packet[24] = 0xfd;
  packet[9] = packet[25] = 0xaa;
  packet[23] = static_cast<std::uint8_t>(3 - last);
  packet[39] = last;
  return packet;
}

Endpoint endpoint(std::uint8_t number) {
  return {IpAddress::v4(0xc0000200U + number), static_cast<std::uint16_t>(1000 + number)};
}

class World {
 public:
  World() {
    const PublicKey here_key = here_.public_key(), peer_key = peer_.public_key();
    here_peer_ =
        here_.add_peer({peer_key, {}, {*Prefix::parse("fdaa::1/128")}, {}, 0s}, now()).value();
    peer_.add_peer(
        {here_key, {}, {*Prefix::parse("fdaa::2/128")}, TunnelEndpoint::udp(endpoint(2)), 0s},
        now());
  }

  void step(Script& script) {
    const std::uint8_t what = script.byte();
    switch (what % 6) {
      case 0:
        return raw(script);
      case 1:
        return damaged(script);
      case 2:
        return wait(script);
      case 3:
        return from_peer(script);
      case 4:
        return from_here(script);
      default:
        return deliver();
    }
  }

 private:
  Moment now() const { return {TimePoint(1000s) + time_, WallTime(1'700'000'000s) + time_}; }

  void receive(Data datagram, const TunnelEndpoint& from) {
    const std::size_t size = datagram.size();
    const Received received = here_.receive(datagram, from, now(), out_);
    if (!received.packet.empty()) {
      require(received.peer == here_peer_);
      const auto* const begin = datagram.data() + kDataHeaderBytes;
      require(received.packet.data() == begin && received.packet.size() + 32 <= size);
      require(received.packet[23] == 1 && received.packet[8] == 0xfd);
    }
    std::size_t answered = 0;
    for (const auto& batch : out_.batches()) {
      if (batch.to == from) answered += batch.bytes;
    }
    // Only who has proven who it is gets more than it gave.
    require(received.peer == here_peer_ || answered <= size);
    collect(out_, to_peer_);
  }
  void raw(Script& script) {
    const TunnelEndpoint from = TunnelEndpoint::udp(endpoint(script.byte()));
    const std::size_t size = script.byte() * 2U;
    receive(script.bytes(size), from);
  }
  void damaged(Script& script) {
    if (to_here_.empty()) return;
    Data datagram = to_here_[script.byte() % to_here_.size()];
    for (int change = script.byte() % 4; change > 0; --change) {
      datagram[script.byte() % datagram.size()] ^= script.byte();
    }
    if (script.byte() % 4 == 0) datagram.resize(datagram.size() - script.byte() % datagram.size());
    receive(std::move(datagram), TunnelEndpoint::udp(endpoint(1)));
  }
  void wait(Script& script) {
    time_ += std::chrono::milliseconds(script.byte() * script.byte());
    here_.tick(now(), out_);
    collect(out_, to_peer_);
    peer_.tick(now(), peer_out_);
    collect(peer_out_, to_here_);
  }
  void from_peer(Script& script) {
    peer_.send(packet_to(2, script.byte() % 100), now(), peer_out_);
    collect(peer_out_, to_here_);
  }
  void from_here(Script& script) {
    Data packet = packet_to(1, script.byte() % 100);
    if (script.byte() % 4 == 0) packet[script.byte() % packet.size()] ^= script.byte();
    here_.send(packet, now(), out_);
    collect(out_, to_peer_);
  }
  void deliver() {
    for (Data& datagram : std::exchange(to_here_, {})) {
      receive(std::move(datagram), TunnelEndpoint::udp(endpoint(1)));
    }
    for (Data& datagram : std::exchange(to_peer_, {})) {
      (void)peer_.receive(datagram, TunnelEndpoint::udp(endpoint(2)), now(), peer_out_);
      collect(peer_out_, to_here_);
    }
  }
  static void collect(Output& out, std::vector<Data>& into) {
    for (const auto& batch : out.batches()) {
      for (std::size_t index = 0; index < batch.count() && into.size() < 200; ++index) {
        const auto datagram = out.datagram(batch, index);
        into.emplace_back(datagram.begin(), datagram.end());
      }
    }
    out.clear();
  }

  CountingRandom random_{1}, peer_random_{2};
  Device here_{PrivateKey::generate(random_), {1420, 5}, random_};
  Device peer_{PrivateKey::generate(peer_random_), {}, peer_random_};
  PeerId here_peer_;
  std::chrono::nanoseconds time_{0};
  Output out_, peer_out_;
  std::vector<Data> to_here_, to_peer_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Script script(data, std::min<std::size_t>(size, 4096));
  World world;
  for (int steps = 0; steps < 200 && !script.is_over(); ++steps) world.step(script);
  return 0;
}
