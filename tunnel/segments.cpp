#include "tunnel/segments.hpp"

#include "tunnel/checksum.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include <netinet/in.h>

namespace rooster::tunnel {
namespace {

constexpr std::size_t kV4Bytes = 20;
constexpr std::size_t kV6Bytes = 40;
constexpr std::size_t kTcpBytes = 20;
constexpr std::size_t kMaxJoinedBytes = 65'535;
constexpr std::size_t kMaxParts = 64;
constexpr std::size_t kLookBack = 8;  // connections that are joined at a time

// Offsets in the TCP header.
constexpr std::size_t kSequence = 4;
constexpr std::size_t kAcknowledged = 8;
constexpr std::size_t kDataOffset = 12;
constexpr std::size_t kFlags = 13;
constexpr std::size_t kChecksum = 16;
constexpr std::uint8_t kFin = 0x01;
constexpr std::uint8_t kPush = 0x08;
constexpr std::uint8_t kAck = 0x10;
constexpr std::uint8_t kReduced = 0x80;  // CWR: only the first segment says it

std::span<const std::uint8_t> addresses_of(const std::uint8_t* packet, bool is_v6) {
  return is_v6 ? std::span(packet + 8, 32) : std::span(packet + 12, 8);
}

// Length fields and, for IPv4, the header's checksum.
void set_ip_length(std::uint8_t* packet, bool is_v6, std::size_t ip_bytes, std::size_t bytes) {
  if (is_v6) {
    put_u16(packet + 4, bytes - kV6Bytes);
    return;
  }
  put_u16(packet + 2, bytes);
  packet[10] = packet[11] = 0;
  const auto sum = static_cast<std::uint16_t>(~fold_checksum(add_checksum(0, {packet, ip_bytes})));
  std::memcpy(packet + 10, &sum, sizeof sum);
}

void set_tcp_checksum(std::uint8_t* packet, bool is_v6, std::size_t ip_bytes, std::size_t bytes) {
  std::uint8_t* tcp = packet + ip_bytes;
  tcp[kChecksum] = tcp[kChecksum + 1] = 0;
  const std::uint64_t pseudo =
      pseudo_header_sum(addresses_of(packet, is_v6), IPPROTO_TCP, bytes - ip_bytes);
  const auto sum =
      static_cast<std::uint16_t>(~fold_checksum(add_checksum(pseudo, {tcp, bytes - ip_bytes})));
  std::memcpy(tcp + kChecksum, &sum, sizeof sum);
}

}  // namespace

// ---- Splitter

bool Splitter::begin(const OffloadHeader& offload, std::span<std::uint8_t> packet) {
  packet_ = {};
  offload_ = offload;
  payload_done_ = 0;
  if (packet.size() < kV4Bytes) return false;
  is_v6_ = (packet[0] >> 4) == 6;
  if ((offload.flags & OffloadHeader::kNeedsChecksum) != 0 &&
      std::size_t{offload.checksum_start} + offload.checksum_offset + 2 > packet.size()) {
    return false;
  }
  if (offload.kind != OffloadHeader::kWhole) {
    const int type = offload.kind & ~OffloadHeader::kEcn;
    if (type != OffloadHeader::kTcp4 && type != OffloadHeader::kTcp6) return false;
    ip_bytes_ = offload.checksum_start;
    if (offload.segment_bytes == 0 || ip_bytes_ < (is_v6_ ? kV6Bytes : kV4Bytes)) return false;
    if (packet.size() < ip_bytes_ + kTcpBytes) return false;
    header_bytes_ = ip_bytes_ + std::size_t{packet[ip_bytes_ + kDataOffset]} / 16 * 4;
    if (header_bytes_ < ip_bytes_ + kTcpBytes || packet.size() <= header_bytes_) return false;
    first_sequence_ = get_u32(packet.data() + ip_bytes_ + kSequence);
    first_id_ = get_u16(packet.data() + 4);
  }
  packet_ = packet;
  return true;
}

// A packet that needs no cutting, at most its checksum.
std::size_t Splitter::finish_whole(std::span<std::uint8_t> into) {
  const std::span<std::uint8_t> packet = std::exchange(packet_, {});
  if (packet.size() > into.size()) return 0;
  if ((offload_.flags & OffloadHeader::kNeedsChecksum) != 0) {
    // The field holds the pseudo header's sum already.
    const auto covered = packet.subspan(offload_.checksum_start);
    auto sum = static_cast<std::uint16_t>(~fold_checksum(add_checksum(0, covered)));
    if (sum == 0) sum = 0xffff;  // for UDP a zero says "none"; for TCP they are the same number
    std::memcpy(covered.data() + offload_.checksum_offset, &sum, sizeof sum);
  }
  std::memcpy(into.data(), packet.data(), packet.size());
  return packet.size();
}

std::size_t Splitter::next(std::span<std::uint8_t> into) {
  if (offload_.kind == OffloadHeader::kWhole) return finish_whole(into);
  const std::size_t payload = packet_.size() - header_bytes_;
  const std::size_t begin = payload_done_;
  const std::size_t piece = std::min<std::size_t>(offload_.segment_bytes, payload - begin);
  const std::size_t bytes = header_bytes_ + piece;
  const bool is_last = begin + piece == payload;
  if (bytes > into.size()) {
    packet_ = {};
    return 0;
  }
  std::uint8_t* out = into.data();
  std::memcpy(out, packet_.data(), header_bytes_);
  std::memcpy(out + header_bytes_, packet_.data() + header_bytes_ + begin, piece);
  std::uint8_t* tcp = out + ip_bytes_;
  put_u32(tcp + kSequence, first_sequence_ + static_cast<std::uint32_t>(begin));
  if (!is_last) tcp[kFlags] &= static_cast<std::uint8_t>(~(kFin | kPush));
  if (begin != 0) tcp[kFlags] &= static_cast<std::uint8_t>(~kReduced);
  if (!is_v6_) put_u16(out + 4, (first_id_ + begin / offload_.segment_bytes) & 0xffff);
  set_ip_length(out, is_v6_, ip_bytes_, bytes);
  set_tcp_checksum(out, is_v6_, ip_bytes_, bytes);
  payload_done_ += piece;
  if (is_last) packet_ = {};
  return bytes;
}

// ---- Joiner

namespace {

// Where the payload of a packet begins that others may join: TCP with data and nothing but ACK and
// PSH; else 0.
std::size_t joinable_header(Packet packet, std::size_t& ip_bytes) {
  if (packet.size() < kV4Bytes + kTcpBytes) return 0;
  const std::uint8_t* at = packet.data();
  if ((at[0] >> 4) == 6) {
    if (packet.size() < kV6Bytes + kTcpBytes || at[6] != IPPROTO_TCP) return 0;
    if (get_u16(at + 4) != packet.size() - kV6Bytes) return 0;
    ip_bytes = kV6Bytes;
  } else {
    // No options, and not a fragment.
    if (at[0] != 0x45 || at[9] != IPPROTO_TCP || (get_u16(at + 6) & 0x3fff) != 0) return 0;
    if (get_u16(at + 2) != packet.size()) return 0;
    ip_bytes = kV4Bytes;
  }
  const std::uint8_t* tcp = at + ip_bytes;
  const std::size_t header = ip_bytes + std::size_t{tcp[kDataOffset]} / 16 * 4;
  if (header < ip_bytes + kTcpBytes || header >= packet.size()) return 0;
  if ((tcp[kFlags] & ~kPush) != kAck) return 0;
  return header;
}

// Everything of both headers but what differs between neighbours: lengths, identification,
// checksums, sequence number, PSH.
bool same_connection(const std::uint8_t* a, const std::uint8_t* b, std::size_t ip_bytes,
                     std::size_t header_bytes) {
  const bool is_v6 = ip_bytes == kV6Bytes;
  const auto same = [a, b](std::size_t from, std::size_t to) {
    return std::memcmp(a + from, b + from, to - from) == 0;
  };
  if (is_v6 ? !(same(0, 4) && same(6, kV6Bytes))
            : !(same(0, 2) && same(6, 10) && same(12, kV4Bytes))) {
    return false;
  }
  const std::size_t tcp = ip_bytes;
  return same(tcp, tcp + kSequence) && same(tcp + kAcknowledged, tcp + kFlags) &&
         same(tcp + kFlags + 1, tcp + kChecksum) && same(tcp + kChecksum + 2, header_bytes);
}

}  // namespace

void Joiner::start(Packet packet) {
  if (used_ == groups_.size()) groups_.emplace_back();
  Group& group = groups_[used_++];
  group.first = packet;
  group.ip_bytes = 0;
  group.header_bytes = joinable_header(packet, group.ip_bytes);
  group.bytes = packet.size();
  group.parts.clear();
  group.parts.push_back({nullptr, sizeof(OffloadHeader)});  // its place is known in finish()
  group.parts.push_back({packet.data(), packet.size()});
  group.is_open = group.header_bytes != 0;
  if (!group.is_open) return;
  const std::uint8_t* tcp = packet.data() + group.ip_bytes;
  group.segment_bytes = packet.size() - group.header_bytes;
  group.next_sequence = get_u32(tcp + kSequence) + static_cast<std::uint32_t>(group.segment_bytes);
  group.is_open = (tcp[kFlags] & kPush) == 0;
}

// True: `packet` is in the group. A packet of the same connection that does not fit closes it.
bool Joiner::try_join(Group& group, Packet packet) {
  if (packet.size() <= group.header_bytes) return false;
  std::uint8_t* first = group.first.data();
  if (!same_connection(first, packet.data(), group.ip_bytes, group.header_bytes)) return false;
  const std::uint8_t* tcp = packet.data() + group.ip_bytes;
  const std::size_t payload = packet.size() - group.header_bytes;
  group.is_open = false;
  if (get_u32(tcp + kSequence) != group.next_sequence || payload > group.segment_bytes ||
      group.bytes + payload > kMaxJoinedBytes || group.parts.size() > kMaxParts) {
    return false;
  }
  first[group.ip_bytes + kFlags] |= static_cast<std::uint8_t>(tcp[kFlags] & kPush);
  group.parts.push_back({packet.data() + group.header_bytes, payload});
  group.bytes += payload;
  group.next_sequence += static_cast<std::uint32_t>(payload);
  group.is_open = payload == group.segment_bytes && (tcp[kFlags] & kPush) == 0;
  return true;
}

void Joiner::finish(Group& group, Write& write) {
  write.offload = {};
  if (group.parts.size() > 2) {
    std::uint8_t* first = group.first.data();
    const bool is_v6 = group.ip_bytes == kV6Bytes;
    set_ip_length(first, is_v6, group.ip_bytes, group.bytes);
    const std::uint16_t sum = fold_checksum(
        pseudo_header_sum(addresses_of(first, is_v6), IPPROTO_TCP, group.bytes - group.ip_bytes));
    std::memcpy(first + group.ip_bytes + kChecksum, &sum, sizeof sum);
    write.offload.flags = OffloadHeader::kNeedsChecksum;
    write.offload.kind = is_v6 ? OffloadHeader::kTcp6 : OffloadHeader::kTcp4;
    write.offload.header_bytes = static_cast<std::uint16_t>(group.header_bytes);
    write.offload.segment_bytes = static_cast<std::uint16_t>(group.segment_bytes);
    write.offload.checksum_start = static_cast<std::uint16_t>(group.ip_bytes);
    write.offload.checksum_offset = kChecksum;
  }
  group.parts[0].iov_base = &write.offload;
  write.parts = group.parts;
}

std::span<const Joiner::Write> Joiner::join(std::span<const Packet> packets) {
  used_ = 0;
  for (const Packet packet : packets) {
    std::size_t ip_bytes = 0;
    bool joined = false;
    if (joinable_header(packet, ip_bytes) != 0) {
      const std::size_t oldest = used_ > kLookBack ? used_ - kLookBack : 0;
      for (std::size_t i = used_; i > oldest && !joined; --i) {
        Group& group = groups_[i - 1];
        joined = group.is_open && try_join(group, packet);
      }
    }
    if (!joined) start(packet);
  }
  writes_.resize(used_);
  for (std::size_t i = 0; i < used_; ++i) finish(groups_[i], writes_[i]);
  return writes_;
}

}  // namespace rooster::tunnel
