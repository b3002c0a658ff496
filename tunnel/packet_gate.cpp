#include "tunnel/packet_gate.hpp"

#include "tunnel/checksum.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include <netinet/in.h>

namespace rooster::tunnel {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kV4Bytes = 20;
constexpr std::size_t kV6Bytes = 40;
constexpr std::size_t kIcmpBytes = 8;
constexpr std::uint8_t kUnreachable = 1;  // ICMPv6 types
constexpr std::uint8_t kTooBig = 2;
constexpr std::uint8_t kTimeExceeded = 3;
constexpr std::uint8_t kEchoRequest = 128;
constexpr std::uint8_t kEchoReply = 129;
constexpr std::uint8_t kAddressUnreachable = 3;  // its code
constexpr std::uint8_t kSyn = 0x02;
constexpr std::uint8_t kAck = 0x10;
constexpr std::uint32_t kUnreachablesPerSecond = 10;
constexpr auto kForgetAfter = 60s;
constexpr std::size_t kMaxBudgets = 64 * 1024;

IpAddress address_v6(const std::uint8_t* at) {
  std::array<std::uint8_t, 16> bytes;
  std::memcpy(bytes.data(), at, bytes.size());
  return IpAddress::from_bytes(bytes);
}

// Multicast, link-local, loopback, unspecified, mapped IPv4.
bool has_scope_v6(const std::uint8_t* address) {
  if (address[0] == 0xff) return true;
  if (address[0] == 0xfe && (address[1] & 0xc0) == 0x80) return true;
  return std::all_of(address, address + 10, [](std::uint8_t byte) { return byte == 0; });
}

bool has_scope_v4(std::uint32_t address) {
  return (address >> 24) == 0 || (address >> 24) == 127 || (address >> 16) == 0xa9fe ||
         (address >> 28) >= 0xe;
}

void set_icmp_checksum(std::span<std::uint8_t> packet) {
  const auto message = packet.subspan(kV6Bytes);
  message[2] = message[3] = 0;
  const std::uint64_t pseudo =
      pseudo_header_sum(packet.subspan(8, 32), IPPROTO_ICMPV6, message.size());
  const auto sum = static_cast<std::uint16_t>(~fold_checksum(add_checksum(pseudo, message)));
  std::memcpy(&message[2], &sum, sizeof sum);
}

void swap_addresses(std::uint8_t* packet) {
  std::swap_ranges(packet + 8, packet + 24, packet + 24);
}

}  // namespace

// Credit grows with time up to `burst`: `since` is when the budget would have been empty.
bool PacketGate::Budget::take(TimePoint now, std::uint32_t per_second, std::uint32_t burst) {
  const Duration one = Duration(1s) / per_second;
  since = std::max(since, now - one * burst);
  if (now - since < one) return false;
  since += one;
  return true;
}

PacketGate::PeerBudgets& PacketGate::budgets(PeerId peer, TimePoint now) {
  if (budgets_.size() >= kMaxBudgets) budgets_.clear();
  PeerBudgets& found = budgets_[peer];
  found.used = now;
  return found;
}

void PacketGate::forget_idle(TimePoint now) {
  std::erase_if(budgets_,
                [now](const auto& entry) { return now - entry.second.used > kForgetAfter; });
}

PacketGate::Verdict PacketGate::drop(std::uint64_t& counter) {
  ++counter;
  return Verdict::Drop;
}

bool PacketGate::reaches(PeerId peer, const IpAddress& destination) {
  return !rules_.may_reach || rules_.may_reach(peer, destination);
}

PacketGate::Verdict PacketGate::judge(PeerId peer, Packet packet, TimePoint now) {
  answer_ = {};
  if (packet.empty()) return drop(counters_.malformed);
  const int version = packet[0] >> 4;
  const Verdict verdict = version == 6   ? judge_v6(peer, packet, now)
                          : version == 4 ? judge_v4(peer, packet, now)
                                         : drop(counters_.malformed);
  if (verdict == Verdict::Pass) ++counters_.passed;
  return verdict;
}

PacketGate::Verdict PacketGate::judge_v6(PeerId peer, Packet packet, TimePoint now) {
  if (packet.size() < kV6Bytes || get_u16(&packet[4]) != packet.size() - kV6Bytes) {
    return drop(counters_.malformed);
  }
  if (has_scope_v6(&packet[8]) || has_scope_v6(&packet[24])) return drop(counters_.scope);
  const IpAddress destination = address_v6(&packet[24]);
  const auto payload = packet.subspan(kV6Bytes);
  switch (packet[6]) {
    case IPPROTO_TCP:
      if (!reaches(peer, destination)) return drop(counters_.foreign);
      return judge_tcp(peer, payload, now);
    case IPPROTO_UDP:
      if (!reaches(peer, destination)) return drop(counters_.foreign);
      return payload.size() >= kIcmpBytes ? Verdict::Pass : drop(counters_.malformed);
    case IPPROTO_ICMPV6:
      break;
    case IPPROTO_HOPOPTS:
    case IPPROTO_ROUTING:
    case IPPROTO_FRAGMENT:
    case IPPROTO_DSTOPTS:
      return drop(counters_.extension);
    default:
      return drop(counters_.protocol);
  }
  if (payload.size() < kIcmpBytes) return drop(counters_.malformed);
  if (!reaches(peer, destination)) return drop(counters_.foreign);
  switch (payload[0]) {
    case kEchoRequest:
      return judge_echo(peer, packet, destination, now);
    case kUnreachable:
    case kTooBig:
    case kTimeExceeded:
    case kEchoReply:
      return Verdict::Pass;
    default:
      return drop(counters_.protocol);
  }
}

PacketGate::Verdict PacketGate::judge_v4(PeerId peer, Packet packet, TimePoint now) {
  if (packet.size() < kV4Bytes || get_u16(&packet[2]) != packet.size()) {
    return drop(counters_.malformed);
  }
  if (packet[0] != 0x45 || (get_u16(&packet[6]) & 0x3fff) != 0) return drop(counters_.extension);
  const std::uint32_t destination = get_u32(&packet[16]);
  if (has_scope_v4(get_u32(&packet[12])) || has_scope_v4(destination)) {
    return drop(counters_.scope);
  }
  if (!reaches(peer, IpAddress::v4(destination))) return drop(counters_.foreign);
  switch (packet[9]) {
    case IPPROTO_TCP:
      return judge_tcp(peer, packet.subspan(kV4Bytes), now);
    case IPPROTO_UDP:
    case IPPROTO_ICMP:
      return Verdict::Pass;
    default:
      return drop(counters_.protocol);
  }
}

PacketGate::Verdict PacketGate::judge_tcp(PeerId peer, std::span<const std::uint8_t> segment,
                                          TimePoint now) {
  if (segment.size() < 20) return drop(counters_.malformed);
  const bool is_connect = (segment[13] & (kSyn | kAck)) == kSyn;
  if (!is_connect || rules_.connects_per_second == 0) return Verdict::Pass;
  const std::uint32_t limit = rules_.connects_per_second;
  if (budgets(peer, now).connects.take(now, limit, limit)) return Verdict::Pass;
  return drop(counters_.connects);
}

PacketGate::Verdict PacketGate::judge_echo(PeerId peer, Packet packet, const IpAddress& destination,
                                           TimePoint now) {
  if (!rules_.answers_echo) return Verdict::Pass;
  if (rules_.answers_echo(peer, destination)) {
    ++counters_.echoes;
    swap_addresses(packet.data());
    packet[7] = 64;
    packet[kV6Bytes] = kEchoReply;
    set_icmp_checksum(packet);
    answer_ = packet;
    return Verdict::Answer;
  }
  ++counters_.unreachable;
  if (!budgets(peer, now).unreachable.take(now, kUnreachablesPerSecond, kUnreachablesPerSecond)) {
    return Verdict::Drop;
  }
  // From the address itself: nothing of ours lies in every network.
  const std::size_t quoted = std::min(packet.size(), made_.size() - kV6Bytes - kIcmpBytes);
  std::memcpy(made_.data(), packet.data(), kV6Bytes);
  std::memcpy(made_.data() + kV6Bytes + kIcmpBytes, packet.data(), quoted);
  swap_addresses(made_.data());
  put_u16(&made_[4], kIcmpBytes + quoted);
  made_[7] = 64;
  std::memset(&made_[kV6Bytes], 0, kIcmpBytes);
  made_[kV6Bytes] = kUnreachable;
  made_[kV6Bytes + 1] = kAddressUnreachable;
  answer_ = std::span(made_).first(kV6Bytes + kIcmpBytes + quoted);
  set_icmp_checksum(answer_);
  return Verdict::Answer;
}

bool PacketGate::may_leave(Packet packet) {
  if (packet.empty()) return false;
  if ((packet[0] >> 4) == 6) {
    return packet.size() >= kV6Bytes && !has_scope_v6(&packet[8]) && !has_scope_v6(&packet[24]);
  }
  return packet.size() >= kV4Bytes && !has_scope_v4(get_u32(&packet[16]));
}

std::size_t make_echo_request(std::span<std::uint8_t> into, const IpAddress& source,
                              const IpAddress& destination, std::uint16_t id,
                              std::uint16_t sequence, std::span<const std::uint8_t> payload) {
  const std::size_t bytes = kV6Bytes + kIcmpBytes + payload.size();
  if (bytes > into.size()) return 0;
  const auto packet = into.first(bytes);
  std::memset(packet.data(), 0, kV6Bytes + kIcmpBytes);
  packet[0] = 0x60;
  put_u16(&packet[4], bytes - kV6Bytes);
  packet[6] = IPPROTO_ICMPV6;
  packet[7] = 64;
  std::memcpy(&packet[8], source.bytes().data(), 16);
  std::memcpy(&packet[24], destination.bytes().data(), 16);
  packet[kV6Bytes] = kEchoRequest;
  put_u16(&packet[kV6Bytes + 4], id);
  put_u16(&packet[kV6Bytes + 6], sequence);
  std::copy(payload.begin(), payload.end(), packet.begin() + kV6Bytes + kIcmpBytes);
  set_icmp_checksum(packet);
  return bytes;
}

}  // namespace rooster::tunnel
