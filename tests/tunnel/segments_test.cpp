#include "tunnel/segments.hpp"

#include "tunnel/checksum.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <list>
#include <vector>

#include <netinet/in.h>

namespace rooster::tunnel {
namespace {

using Bytes = std::vector<std::uint8_t>;
constexpr std::uint8_t kAck = 0x10;
constexpr std::uint8_t kPushAck = 0x18;

struct Shape {
  bool v6 = true;
  std::uint16_t port = 1000;
  std::uint32_t sequence = 1;
  std::uint8_t flags = kAck;
  std::size_t payload = 100;
};

std::size_t ip_bytes(bool v6) {
  return v6 ? 40 : 20;
}

std::uint16_t tcp_sum(const Bytes& packet) {
  const bool v6 = packet[0] >> 4 == 6;
  const auto addresses = std::span(packet).subspan(v6 ? 8 : 12, v6 ? 32 : 8);
  const auto segment = std::span(packet).subspan(ip_bytes(v6));
  return fold_checksum(
      add_checksum(pseudo_header_sum(addresses, IPPROTO_TCP, segment.size()), segment));
}

// A TCP packet with right checksums; its payload counts up from its sequence number.
Bytes tcp_packet(const Shape& shape) {
  const std::size_t ip = ip_bytes(shape.v6);
  Bytes packet(ip + 32 + shape.payload);
  if (shape.v6) {
    packet[0] = 0x60;
    put_u16(&packet[4], packet.size() - 40);
    packet[6] = IPPROTO_TCP;
    packet[7] = 64;
    packet[8] = packet[24] = 0xfd;
    packet[23] = 1;
    packet[39] = 2;
  } else {
    packet[0] = 0x45;
    put_u16(&packet[2], packet.size());
    packet[8] = 64;
    packet[9] = IPPROTO_TCP;
    packet[12] = packet[16] = 10;
    packet[15] = 1;
    packet[19] = 2;
    const auto sum =
        static_cast<std::uint16_t>(~fold_checksum(add_checksum(0, std::span(packet).first(20))));
    std::memcpy(&packet[10], &sum, 2);
  }
  std::uint8_t* tcp = &packet[ip];
  put_u16(tcp, shape.port);
  put_u16(tcp + 2, 5432);
  put_u32(tcp + 4, shape.sequence);
  put_u32(tcp + 8, 77);
  tcp[12] = 0x80;  // 32 bytes with options
  tcp[13] = shape.flags;
  put_u16(tcp + 14, 512);
  for (std::size_t i = 0; i < shape.payload; ++i) {
    packet[ip + 32 + i] = static_cast<std::uint8_t>(shape.sequence + i);
  }
  const auto sum = static_cast<std::uint16_t>(~tcp_sum(packet));
  std::memcpy(tcp + 16, &sum, 2);
  return packet;
}

struct Joined {
  OffloadHeader offload;
  Bytes bytes;
};

std::vector<Joined> join(std::list<Bytes>& packets) {
  std::vector<Packet> spans;
  for (Bytes& packet : packets) spans.emplace_back(packet);
  Joiner joiner;
  std::vector<Joined> out;
  for (const Joiner::Write& write : joiner.join(spans)) {
    Joined& one = out.emplace_back();
    std::memcpy(&one.offload, write.parts[0].iov_base, sizeof one.offload);
    for (const iovec& part : write.parts.subspan(1)) {
      const auto* at = static_cast<const std::uint8_t*>(part.iov_base);
      one.bytes.insert(one.bytes.end(), at, at + part.iov_len);
    }
  }
  return out;
}

std::vector<Bytes> split(Joined& whole) {
  Splitter splitter;
  EXPECT_TRUE(splitter.begin(whole.offload, whole.bytes));
  std::vector<Bytes> out;
  Bytes slot(2048);
  while (!splitter.is_done()) {
    const std::size_t bytes = splitter.next(slot);
    if (bytes != 0) out.emplace_back(slot.begin(), slot.begin() + static_cast<long>(bytes));
  }
  return out;
}

class SegmentsOfFamily : public testing::TestWithParam<bool> {};

TEST_P(SegmentsOfFamily, ARunIsJoinedAndSplitsIntoWhatItWas) {
  std::list<Bytes> packets;
  std::uint32_t sequence = 0xffffff00;  // wraps
  for (int i = 0; i < 5; ++i) {
    packets.push_back(tcp_packet({GetParam(), 1000, sequence, kAck, 100}));
    sequence += 100;
  }
  packets.push_back(tcp_packet({GetParam(), 1000, sequence, kPushAck, 30}));
  const std::list<Bytes> before = packets;
  auto joined = join(packets);
  ASSERT_EQ(joined.size(), 1u);
  EXPECT_EQ(joined[0].offload.segment_bytes, 100);
  EXPECT_EQ(joined[0].bytes.size(), ip_bytes(GetParam()) + 32 + 530);
  auto again = split(joined[0]);
  ASSERT_EQ(again.size(), before.size());
  auto expected = before.begin();
  for (Bytes& packet : again) {
    EXPECT_EQ(tcp_sum(packet), 0xffff);
    // IPv4's identification counts up; nothing else may differ.
    if (!GetParam()) std::memcpy(&packet[4], &(*expected)[4], 2);
    if (!GetParam()) std::memcpy(&packet[10], &(*expected)[10], 2);
    EXPECT_EQ(packet, *expected++);
  }
}

TEST_P(SegmentsOfFamily, ConnectionsAreJoinedApartAndKeepTheirOrder) {
  std::list<Bytes> packets;
  for (std::uint32_t i = 0; i < 4; ++i) {
    packets.push_back(tcp_packet({GetParam(), 1000, 1 + i * 100, kAck, 100}));
    packets.push_back(tcp_packet({GetParam(), 2000, 5 + i * 50, kAck, 50}));
  }
  packets.push_back(tcp_packet({GetParam(), 1000, 900, kAck, 100}));  // a gap
  packets.push_back(tcp_packet({GetParam(), 1000, 1000, kAck, 100}));
  const auto joined = join(packets);
  ASSERT_EQ(joined.size(), 3u);
  EXPECT_EQ(joined[0].offload.segment_bytes, 100);
  EXPECT_EQ(joined[1].offload.segment_bytes, 50);
  EXPECT_EQ(get_u32(&joined[2].bytes[ip_bytes(GetParam()) + 4]), 900u);
}

TEST_P(SegmentsOfFamily, WhatIsNotPlainDataGoesAlone) {
  std::list<Bytes> packets;
  packets.push_back(tcp_packet({GetParam(), 1000, 1, kPushAck, 100}));  // PSH ends a run
  packets.push_back(tcp_packet({GetParam(), 1000, 101, kAck, 100}));
  packets.push_back(tcp_packet({GetParam(), 1000, 201, 0x11, 100}));  // FIN
  packets.push_back(tcp_packet({GetParam(), 1000, 301, kAck, 0}));
  packets.push_back(tcp_packet({GetParam(), 1000, 301, kAck, 200}));  // larger than the run's
  packets.push_back(Bytes{0x60, 1, 2});
  const std::list<Bytes> before = packets;
  const auto joined = join(packets);
  ASSERT_EQ(joined.size(), before.size());
  auto expected = before.begin();
  for (const Joined& one : joined) {
    EXPECT_EQ(one.offload.kind, OffloadHeader::kWhole);
    EXPECT_EQ(one.bytes, *expected++);
  }
}

TEST_P(SegmentsOfFamily, AChecksumLeftToTheCardIsMade) {
  Bytes packet = tcp_packet({GetParam()});
  const Bytes right = packet;
  const std::size_t ip = ip_bytes(GetParam());
  const auto addresses = std::span(packet).subspan(GetParam() ? 8 : 12, GetParam() ? 32 : 8);
  const std::uint16_t partial =
      fold_checksum(pseudo_header_sum(addresses, IPPROTO_TCP, packet.size() - ip));
  std::memcpy(&packet[ip + 16], &partial, 2);
  OffloadHeader offload;
  offload.flags = OffloadHeader::kNeedsChecksum;
  offload.checksum_start = static_cast<std::uint16_t>(ip);
  offload.checksum_offset = 16;
  Joined whole{offload, packet};
  const auto out = split(whole);
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0], right);
}

INSTANTIATE_TEST_SUITE_P(Families, SegmentsOfFamily, testing::Bool(),
                         [](const auto& param) { return param.param ? "V6" : "V4"; });

TEST(Splitter, RefusesHeadersThatPointOutside) {
  Bytes packet = tcp_packet({});
  Splitter splitter;
  OffloadHeader offload;
  offload.flags = OffloadHeader::kNeedsChecksum;
  offload.checksum_start = 60'000;
  EXPECT_FALSE(splitter.begin(offload, packet));
  offload = {};
  offload.kind = OffloadHeader::kTcp6;
  offload.checksum_start = 40;
  EXPECT_FALSE(splitter.begin(offload, packet)) << "no segment size";
  offload.segment_bytes = 10;
  EXPECT_FALSE(splitter.begin(offload, std::span(packet).first(50)));
  offload.kind = 3;  // UDP fragmentation, which nobody asked for
  EXPECT_FALSE(splitter.begin(offload, packet));
}

TEST(Checksum, AddsUpAsOneByOne) {
  Bytes bytes(1501);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * 37);
  for (const std::size_t size : {0ul, 1ul, 2ul, 15ul, 16ul, 17ul, 1500ul, 1501ul}) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < size; ++i) {
      sum += i % 2 == 0 ? std::uint32_t{bytes[i]} << 8 : std::uint32_t{bytes[i]};
    }
    while ((sum >> 16) != 0) sum = (sum & 0xffff) + (sum >> 16);
    EXPECT_EQ(htons(fold_checksum(add_checksum(0, std::span(bytes).first(size)))), sum) << size;
  }
}

}  // namespace
}  // namespace rooster::tunnel
