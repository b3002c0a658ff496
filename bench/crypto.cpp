// bench_crypto: what the tunnel's cryptography costs on one core, one figure a line: nanoseconds
// for each seal, open, packet through a Device, and handshake.
#include "tunnel/device.hpp"
#include "tunnel/session.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

namespace {

using namespace rooster;
using namespace rooster::tunnel;
using namespace std::chrono_literals;
using Data = std::vector<std::uint8_t>;

/// The best of many short runs: the machine is not ours alone.
template <class Work>
void measure(const char* what, std::size_t bytes, int times, Work work) {
  double best = 1e18;
  for (int run = 0; run < 200; ++run) {
    const auto begin = Clock::now();
    for (int turn = 0; turn < times; ++turn) work();
    const std::chrono::duration<double, std::nano> spent = Clock::now() - begin;
    best = std::min(best, spent.count() / times);
  }
  std::printf("%-18s %5zu B %9.0f ns", what, bytes, best);
  if (bytes != 0) std::printf(" %6.2f Gbit/s", 8 * static_cast<double>(bytes) / best);
  std::printf("\n");
}

Data packet_to(std::uint8_t last, std::size_t size) {
  Data packet(size, 0x5a);
  packet[0] = 0x60;
  packet[4] = static_cast<std::uint8_t>((size - 40) >> 8);
  packet[5] = static_cast<std::uint8_t>(size - 40);
  std::fill_n(packet.begin() + 8, 32, std::uint8_t{0});
  packet[8] = packet[24] = 0xfd;
  packet[23] = static_cast<std::uint8_t>(3 - last);
  packet[39] = last;
  return packet;
}

void measure_aead(std::size_t size) {
  Algorithms algorithms;
  const Secret key;
  Aead sealing(algorithms, key), opening(algorithms, key);
  const Data plain(size, 7);
  Data sealed(size + 16), opened(size);
  std::uint64_t counter = 0;
  measure("seal", size, 1'000,
          [&] { sealing.seal(nonce_of(++counter), {}, plain, 0, sealed.data()); });
  sealing.seal(nonce_of(1), {}, plain, 0, sealed.data());
  measure("open", size, 1'000, [&] { (void)opening.open(nonce_of(1), {}, sealed, opened.data()); });
}

/// Two Devices with a session between them.
class Two {
 public:
  Two() {
    const auto there = TunnelEndpoint::udp({IpAddress::v4(1), 1});
    left_peer_ =
        left_.add_peer({right_.public_key(), {}, {*Prefix::parse("fd00::2/128")}, there}, now_)
            .value();
    right_.add_peer({left_.public_key(), {}, {*Prefix::parse("fd00::1/128")}, there}, now_);
    shake_hands();
  }

  void shake_hands() {
    now_.boot += 1s;
    now_.wall += 1s;
    left_.initiate(left_peer_, now_, left_out_);
    for (int turn = 0; turn < 3; ++turn) {
      pass(left_out_, right_, right_out_);
      pass(right_out_, left_, left_out_);
    }
  }
  void measure_packets(std::size_t size) {
    const Data packet = packet_to(2, size);
    measure("Device::send", size, 1'000, [&] {
      left_.send(packet, now_, left_out_);
      if (left_out_.size() > 64 * 1024) left_out_.clear();
    });
    left_out_.clear();
    measure("both ways", size, 1'000, [&] {
      left_.send(packet, now_, left_out_);
      if (left_out_.size() > 64 * 1024) pass(left_out_, right_, right_out_);
    });
  }

 private:
  // Where they lie: as from a socket's buffer.
  void pass(Output& from, Device& to, Output& out) {
    for (const auto& batch : from.batches()) {
      for (std::size_t index = 0; index < batch.count(); ++index) {
        const auto datagram = from.datagram(batch, index);
        datagram_.assign(datagram.begin(), datagram.end());
        (void)to.receive(datagram_, batch.to, now_, out);
      }
    }
    from.clear();
  }

  SystemRandom random_;
  Moment now_{TimePoint(1000s), WallTime(1'700'000'000s)};
  Device left_{PrivateKey::generate(random_), {}, random_};
  Device right_{PrivateKey::generate(random_), {}, random_};
  PeerId left_peer_;
  Output left_out_, right_out_;
  Data datagram_;
};

}  // namespace

int main() {
  for (const std::size_t size : {64U, 256U, 1280U, 1408U}) measure_aead(size);
  Two two;
  for (const std::size_t size : {64U, 1280U, 1420U}) two.measure_packets(size);
  measure("handshake", 0, 10, [&] { two.shake_hands(); });
}
