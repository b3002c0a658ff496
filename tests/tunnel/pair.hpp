// What the tests of the tunnel core share: randomness from a seed, a clock moved by hand, inner
// packets, and two Devices with a link between them that can lose, reorder, double and damage.
#pragma once

#include "tunnel/device.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <random>
#include <string_view>
#include <vector>

namespace rooster::tunnel::testing {

using namespace std::chrono_literals;
using Data = std::vector<std::uint8_t>;

class SeededRandom final : public RandomSource {
 public:
  explicit SeededRandom(std::uint64_t seed) : engine_(seed) {}
  void fill(std::span<std::uint8_t> out) override {
    for (auto& byte : out) byte = static_cast<std::uint8_t>(engine_());
  }

 private:
  std::mt19937_64 engine_;
};

inline constexpr WallTime kSomeDay{std::chrono::seconds(1'700'000'000)};

/// Both clocks from one number.
inline Moment moment(Duration since) {
  return {TimePoint(1000s) + since,
          kSomeDay + std::chrono::duration_cast<WallTime::duration>(since)};
}

inline IpAddress ip(std::string_view text) {
  return IpAddress::parse(text).value();
}

inline TunnelEndpoint udp(std::string_view address, std::uint16_t port) {
  return TunnelEndpoint::udp({ip(address), port});
}

/// An IPv6 packet whose payload is `payload` bytes of `fill`.
inline Data packet_v6(std::string_view source, std::string_view destination, std::size_t payload,
                      std::uint8_t fill = 0xab) {
  Data packet(40 + payload, fill);
  packet[0] = 0x60;
  packet[1] = packet[2] = packet[3] = 0;
  packet[4] = static_cast<std::uint8_t>(payload >> 8);
  packet[5] = static_cast<std::uint8_t>(payload);
  packet[6] = 17;
  packet[7] = 64;
  std::ranges::copy(ip(source).bytes(), packet.begin() + 8);
  std::ranges::copy(ip(destination).bytes(), packet.begin() + 24);
  return packet;
}

inline Data packet_v4(std::string_view source, std::string_view destination, std::size_t payload) {
  Data packet(20 + payload, 0xcd);
  packet[0] = 0x45;
  packet[2] = static_cast<std::uint8_t>(packet.size() >> 8);
  packet[3] = static_cast<std::uint8_t>(packet.size());
  const auto from = ip(source).bytes();
  const auto to = ip(destination).bytes();
  std::copy(from.begin() + 12, from.end(), packet.begin() + 12);
  std::copy(to.begin() + 12, to.end(), packet.begin() + 16);
  return packet;
}

inline std::vector<Prefix> prefixes(std::initializer_list<std::string_view> texts) {
  std::vector<Prefix> all;
  for (const auto text : texts) all.push_back(Prefix::parse(text).value());
  return all;
}

inline std::vector<Data> datagrams_of(const Output& out) {
  std::vector<Data> all;
  for (const auto& batch : out.batches()) {
    for (std::size_t index = 0; index < batch.count(); ++index) {
      const auto datagram = out.datagram(batch, index);
      all.emplace_back(datagram.begin(), datagram.end());
    }
  }
  return all;
}

inline std::size_t count_events(const Output& out, PeerEvent::Kind kind) {
  return static_cast<std::size_t>(std::ranges::count_if(
      out.events(), [kind](const auto& event) { return event.kind == kind; }));
}

/// One Device and what came out of it.
struct Side {
  Side(const PrivateKey& key, const DeviceOptions& options, std::uint64_t seed,
       TunnelEndpoint address)
      : random(seed), device(key, options, random), here(address) {}

  SeededRandom random;
  Device device;
  TunnelEndpoint here;
  PeerId peer;
  Output out;
  std::vector<Data> packets;  ///< inner packets that arrived
  std::vector<PeerEvent::Kind> events;
};

/// What the link does to datagrams, each as a share of 1000.
struct Trouble {
  unsigned lost = 0, doubled = 0, damaged = 0, reordered = 0;
};

inline constexpr std::string_view kLeftIp = "fdaa:0:33::1";
inline constexpr std::string_view kRightIp = "fdaa:0:33::2";

class Pair {
 public:
  struct Options {
    DeviceOptions left, right;
    PresharedKey preshared, right_preshared;
    std::chrono::seconds left_keepalive{0}, right_keepalive{0};
    bool right_knows_left = false;
    std::uint64_t seed = 1;
    Options() : right_preshared(preshared) {}
  };

  explicit Pair(const Options& options = Options())
      : engine_(options.seed),
        keys_(options.seed * 7919),
        left_key(PrivateKey::generate(keys_)),
        right_key(PrivateKey::generate(keys_)),
        left(left_key, options.left, options.seed + 1, udp("192.0.2.1", 1111)),
        right(right_key, options.right, options.seed + 2, udp("192.0.2.2", 2222)) {
    PeerSettings to_right{right_key.public_key(), options.preshared, prefixes({"fdaa:0:33::2/128"}),
                          right.here, options.left_keepalive};
    PeerSettings to_left{left_key.public_key(),
                         options.right_preshared,
                         prefixes({"fdaa:0:33::1/128"}),
                         {},
                         options.right_keepalive};
    if (options.right_knows_left) to_left.endpoint = left.here;
    left.peer = left.device.add_peer(to_right, now()).value();
    right.peer = right.device.add_peer(to_left, now()).value();
  }

 private:
  std::mt19937_64 engine_;
  SeededRandom keys_;

 public:
  Moment now() const { return moment(time); }
  Side& other(Side& side) { return &side == &left ? right : left; }

  Sent send(Side& from, std::size_t payload = 60) {
    const bool is_left = &from == &left;
    const Data packet = packet_v6(is_left ? kLeftIp : kRightIp, is_left ? kRightIp : kLeftIp,
                                  payload, static_cast<std::uint8_t>(++sent_count_));
    const Sent how = from.device.send(packet, now(), from.out);
    collect(from);
    return how;
  }
  bool initiate(Side& from) {
    const bool began = from.device.initiate(from.peer, now(), from.out);
    collect(from);
    return began;
  }
  void tick() {
    left.device.tick(now(), left.out);
    collect(left);
    right.device.tick(now(), right.out);
    collect(right);
  }

  /// Everything under way arrives, with its answers.
  void deliver() {
    for (int round = 0; round < 1000 && !under_way.empty(); ++round) step();
    ASSERT_TRUE(under_way.empty()) << "the two never fall silent";
  }
  void step() {
    std::size_t at = 0;
    if (under_way.size() > 1 && chance(trouble.reordered)) at = engine_() % under_way.size();
    Flight flight = std::move(under_way[at]);
    under_way.erase(under_way.begin() + static_cast<std::ptrdiff_t>(at));
    if (chance(trouble.lost)) return;
    if (chance(trouble.doubled)) under_way.push_back(flight);
    if (chance(trouble.damaged)) {
      flight.bytes[engine_() % flight.bytes.size()] ^=
          static_cast<std::uint8_t>(1 + engine_() % 255);
    }
    hand_over(*flight.to, flight.bytes, flight.from);
  }
  void hand_over(Side& to, Data bytes, const TunnelEndpoint& from) {
    const Received received = to.device.receive(bytes, from, now(), to.out);
    if (!received.packet.empty()) {
      EXPECT_EQ(received.peer, to.peer);
      to.packets.emplace_back(received.packet.begin(), received.packet.end());
    }
    collect(to);
  }
  /// Moves the clock to `end` and stops at everything that is due on the way; datagrams arrive at
  /// once.
  void run_until(Duration end) {
    for (int guard = 0; guard < 2'000'000; ++guard) {
      deliver();
      const TimePoint next = std::min(left.device.next_tick(), right.device.next_tick());
      if (next > moment(end).boot) break;
      time = std::max(time, Duration(next - moment(0s).boot));
      tick();
    }
    time = end;
    deliver();
  }
  void run_for(Duration span) { run_until(time + span); }
  /// Both have a session that carries data both ways.
  void connect() {
    send(left);
    deliver();
    send(right);
    deliver();
    ASSERT_EQ(right.packets.size(), 1u);
    ASSERT_EQ(left.packets.size(), 1u);
    clear();
  }
  void clear() {
    for (Side* const side : {&left, &right}) {
      side->packets.clear();
      side->events.clear();
    }
    log.clear();
  }
  std::size_t count(const Side& side, PeerEvent::Kind kind) const {
    return static_cast<std::size_t>(std::ranges::count(side.events, kind));
  }
  /// Datagrams that `from` has sent since clear(), by the type in their first byte.
  std::size_t count_sent(const Side& from, std::uint8_t type) const {
    return static_cast<std::size_t>(std::ranges::count_if(
        log, [&](const auto& entry) { return entry.from == &from && entry.type == type; }));
  }

  struct Flight {
    Side* to;
    TunnelEndpoint from;
    Data bytes;
  };
  struct Entry {
    const Side* from;
    std::uint8_t type;
    std::size_t bytes;
    Duration when;
  };

  PrivateKey left_key, right_key;
  Side left, right;
  Duration time{0};
  Trouble trouble;
  bool is_cut = false;  ///< nothing arrives any more
  std::deque<Flight> under_way;
  std::vector<Entry> log;

 private:
  bool chance(unsigned share) { return share != 0 && engine_() % 1000 < share; }
  void collect(Side& side) {
    for (const auto& batch : side.out.batches()) {
      for (std::size_t index = 0; index < batch.count(); ++index) {
        const auto datagram = side.out.datagram(batch, index);
        log.push_back({&side, datagram[0], datagram.size(), time});
        if (is_cut) continue;
        under_way.push_back({&other(side), side.here, Data(datagram.begin(), datagram.end())});
      }
    }
    for (const auto& event : side.out.events()) side.events.push_back(event.kind);
    side.out.clear();
  }

  std::uint64_t sent_count_ = 0;
};

}  // namespace rooster::tunnel::testing
