#include "tunnel/packet_gate.hpp"

#include "tests/tunnel/loop_pair.hpp"
#include "tunnel/checksum.hpp"

#include <gtest/gtest.h>

namespace rooster::tunnel {
namespace {

using namespace std::chrono_literals;
using Verdict = PacketGate::Verdict;

constexpr const char* kPeer = "fdaa:0:33:a7b::2";
constexpr const char* kMachine = "fdaa:0:33:1::2";
constexpr TimePoint kNow{1h};

Bytes packet_of(std::uint8_t protocol, const char* from = kPeer, const char* to = kMachine) {
  Bytes packet = inner_packet(from, to, 40);
  packet[6] = protocol;
  return packet;
}

Bytes syn() {
  Bytes packet = packet_of(6);
  packet[40 + 12] = 0x50;
  packet[40 + 13] = 0x02;
  return packet;
}

struct Gate {
  Gate() : gate(rules()) {}
  static GateRules rules() {
    GateRules rules;
    rules.may_reach = [](PeerId, const IpAddress& to) {
      return Prefix::parse("fdaa:0:33::/48")->contains(to);
    };
    rules.answers_echo = [](PeerId, const IpAddress& to) {
      return to == *IpAddress::parse(kMachine);
    };
    rules.connects_per_second = 200;
    return rules;
  }
  Verdict judge(Bytes packet, TimePoint now = kNow) {
    last = std::move(packet);
    return gate.judge(PeerId{1}, last, now);
  }
  PacketGate gate;
  Bytes last;
};

TEST(PacketGate, PassesTcpUdpAndTheFewIcmpMessages) {
  Gate gate;
  EXPECT_EQ(gate.judge(packet_of(6)), Verdict::Pass);
  EXPECT_EQ(gate.judge(packet_of(17)), Verdict::Pass);
  Bytes icmp = packet_of(58);
  for (const std::uint8_t type : std::initializer_list<std::uint8_t>{1, 2, 3, 129}) {
    icmp[40] = type;
    EXPECT_EQ(gate.judge(icmp), Verdict::Pass) << int{type};
  }
  for (const std::uint8_t type :
       std::initializer_list<std::uint8_t>{4, 130, 133, 134, 135, 136, 137, 143}) {
    icmp[40] = type;
    EXPECT_EQ(gate.judge(icmp), Verdict::Drop) << int{type};
  }
  EXPECT_EQ(gate.gate.counters().passed, 6u);
  EXPECT_EQ(gate.gate.counters().protocol, 8u);
}

TEST(PacketGate, DropsAndCountsTheRest) {
  Gate gate;
  for (const std::uint8_t header : std::initializer_list<std::uint8_t>{0, 43, 44, 60}) {
    EXPECT_EQ(gate.judge(packet_of(header)), Verdict::Drop) << int{header};
  }
  EXPECT_EQ(gate.gate.counters().extension, 4u);
  for (const char* to : {"ff02::1", "fe80::1", "::1", "::", "::ffff:10.0.0.1"}) {
    Bytes packet = packet_of(6);
    const auto bytes = IpAddress::parse(to)->bytes();
    std::copy(bytes.begin(), bytes.end(), packet.begin() + 24);
    EXPECT_EQ(gate.judge(packet), Verdict::Drop) << to;
  }
  EXPECT_EQ(gate.gate.counters().scope, 5u);
  EXPECT_EQ(gate.judge(packet_of(6, kPeer, "fdaa:0:34:1::2")), Verdict::Drop);
  EXPECT_EQ(gate.judge(packet_of(17, kPeer, "2001:db8::1")), Verdict::Drop);
  EXPECT_EQ(gate.gate.counters().foreign, 2u);
  EXPECT_EQ(gate.judge(packet_of(50)), Verdict::Drop);
  Bytes longer = packet_of(6);
  longer.push_back(0);
  EXPECT_EQ(gate.judge(longer), Verdict::Drop);
  EXPECT_EQ(gate.judge({}), Verdict::Drop);
  EXPECT_EQ(gate.judge({0x60, 1, 2}), Verdict::Drop);
  EXPECT_EQ(gate.judge({0x50}), Verdict::Drop);
}

TEST(PacketGate, FourthVersionPacketsWithOptionsOrInPiecesAreDropped) {
  PacketGate gate({});
  Bytes packet(40);
  packet[0] = 0x45;
  put_u16(&packet[2], packet.size());
  packet[9] = 6;
  put_u32(&packet[12], 0x0a000001);
  put_u32(&packet[16], 0x0a000002);
  EXPECT_EQ(gate.judge({}, packet, kNow), Verdict::Pass);
  packet[6] = 0x20;  // more fragments
  EXPECT_EQ(gate.judge({}, packet, kNow), Verdict::Drop);
  packet[6] = 0;
  packet[0] = 0x46;
  EXPECT_EQ(gate.judge({}, packet, kNow), Verdict::Drop);
  packet[0] = 0x45;
  put_u32(&packet[16], 0x7f000001);
  EXPECT_EQ(gate.judge({}, packet, kNow), Verdict::Drop);
}

TEST(PacketGate, ConnectsHaveABudgetThatRefills) {
  Gate gate;
  int passed = 0;
  for (int i = 0; i < 300; ++i) passed += gate.judge(syn()) == Verdict::Pass;
  EXPECT_EQ(passed, 200);
  EXPECT_EQ(gate.gate.counters().connects, 100u);
  passed = 0;
  for (int i = 0; i < 300; ++i) passed += gate.judge(syn(), kNow + 100ms) == Verdict::Pass;
  EXPECT_EQ(passed, 20);
  EXPECT_EQ(gate.judge(packet_of(6)), Verdict::Pass) << "other segments are not connects";
  EXPECT_EQ(gate.gate.judge(PeerId{2}, gate.last = syn(), kNow), Verdict::Pass);
}

TEST(PacketGate, EchoIsAnsweredOrSaidToBeUnreachableAtTenASecond) {
  Gate gate;
  const Bytes payload = {9, 8, 7};
  Bytes request(200);
  const auto make = [&](const char* to) {
    const std::size_t bytes =
        make_echo_request(request, *IpAddress::parse(kPeer), *IpAddress::parse(to), 5, 6, payload);
    return Bytes(request.begin(), request.begin() + static_cast<std::ptrdiff_t>(bytes));
  };
  const auto checksum = [](Packet packet) {
    return fold_checksum(add_checksum(
        pseudo_header_sum(packet.subspan(8, 32), 58, packet.size() - 40), packet.subspan(40)));
  };
  ASSERT_EQ(gate.judge(make(kMachine)), Verdict::Answer);
  EXPECT_EQ(gate.gate.answer()[40], 129);
  EXPECT_EQ(checksum(gate.gate.answer()), 0xffff);
  EXPECT_EQ(get_u16(&gate.gate.answer()[46]), 6);
  int answers = 0;
  for (int i = 0; i < 50; ++i) answers += gate.judge(make("fdaa:0:33:dead::9")) == Verdict::Answer;
  EXPECT_EQ(answers, 10);
  ASSERT_EQ(gate.judge(make("fdaa:0:33:dead::9"), kNow + 1s), Verdict::Answer);
  EXPECT_EQ(gate.gate.answer()[40], 1);
  EXPECT_EQ(checksum(gate.gate.answer()), 0xffff);
  EXPECT_EQ(Bytes(gate.gate.answer().begin() + 48, gate.gate.answer().end()), gate.last)
      << "the request is quoted";
}

}  // namespace
}  // namespace rooster::tunnel
