// PacketGate: which inner packets of a peer go on to the stack (docs/guarantees.md: only into its
// own network, only what the stack should see), and the few that are answered here. Pure.
#pragma once

#include "core/address.hpp"
#include "core/time.hpp"
#include "tunnel/output.hpp"
#include "tunnel/stack.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <unordered_map>

namespace rooster::tunnel {

struct GateRules {
  /// Is `destination` in the peer's own network? Unset: every destination is.
  std::move_only_function<bool(PeerId, const IpAddress& destination)> may_reach;
  /// Is anything at `destination` (asleep too)? Then its echo requests are answered here, and those
  /// of others with "address unreachable". Unset: they go on to the stack.
  std::move_only_function<bool(PeerId, const IpAddress& destination)> answers_echo;
  std::uint32_t connects_per_second = 0;  ///< of one peer, a second's worth at once; 0: any number
};

struct GateCounters {
  std::uint64_t passed = 0;
  std::uint64_t malformed = 0;    ///< no IP packet
  std::uint64_t extension = 0;    ///< IPv6 extension headers, IPv4 options, fragments
  std::uint64_t scope = 0;        ///< multicast, link-local, loopback, unspecified
  std::uint64_t protocol = 0;     ///< neither TCP, UDP nor the few ICMP messages
  std::uint64_t foreign = 0;      ///< another network
  std::uint64_t connects = 0;     ///< TCP connects over the peer's limit
  std::uint64_t echoes = 0;       ///< answered
  std::uint64_t unreachable = 0;  ///< echo requests to nothing
};

class PacketGate {
 public:
  explicit PacketGate(GateRules rules) : rules_(std::move(rules)) {}

  enum class Verdict : std::uint8_t {
    Pass,
    Drop,
    Answer,  ///< answer() goes back to the peer
  };
  /// Looks at a packet from `peer`, whose source address is authentic.
  Verdict judge(PeerId peer, Packet packet, TimePoint now);
  /// What the last judge() answered; may lie in its packet.
  Packet answer() const { return answer_; }
  const GateCounters& counters() const { return counters_; }
  /// Forgets what is kept of peers that sent nothing lately. Call it every minute or so.
  void forget_idle(TimePoint now);

  /// Should a packet of the stack go to a peer at all? Not multicast, not link-local: what a kernel
  /// says to its neighbours.
  static bool may_leave(Packet packet);

 private:
  struct Budget {
    TimePoint since{};  // when it was full, moved forward by what was spent
    bool take(TimePoint now, std::uint32_t per_second, std::uint32_t burst);
  };
  struct PeerBudgets {
    Budget connects;
    Budget unreachable;
    TimePoint used{};
  };
  Verdict judge_v6(PeerId peer, Packet packet, TimePoint now);
  Verdict judge_v4(PeerId peer, Packet packet, TimePoint now);
  Verdict judge_tcp(PeerId peer, std::span<const std::uint8_t> segment, TimePoint now);
  Verdict judge_echo(PeerId peer, Packet packet, const IpAddress& destination, TimePoint now);
  Verdict drop(std::uint64_t& counter);
  bool reaches(PeerId peer, const IpAddress& destination);
  PeerBudgets& budgets(PeerId peer, TimePoint now);

  GateRules rules_;
  GateCounters counters_;
  std::unordered_map<PeerId, PeerBudgets> budgets_;
  Packet answer_;
  std::array<std::uint8_t, 1280> made_{};  // RFC 4443 §2.4: an error stays within the minimum MTU
};

/// An ICMPv6 echo request from `source` to `destination`, checksummed, in `into`; its length. Or 0
/// if `into` is too small.
std::size_t make_echo_request(std::span<std::uint8_t> into, const IpAddress& source,
                              const IpAddress& destination, std::uint16_t id,
                              std::uint16_t sequence, std::span<const std::uint8_t> payload);

}  // namespace rooster::tunnel
