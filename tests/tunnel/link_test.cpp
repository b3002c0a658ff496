// Two Devices over a bad link: whatever it does to datagrams, no packet arrives twice or changed,
// and when the trouble ends they go on.
#include "tests/tunnel/pair.hpp"

#include <set>

namespace rooster::tunnel {
namespace {

using testing::Pair;
using testing::Side;
using testing::Trouble;
using namespace std::chrono_literals;

void expect_each_once(const Side& side, std::string_view source) {
  std::set<testing::Data> seen;
  for (const auto& packet : side.packets) {
    EXPECT_TRUE(seen.insert(packet).second) << "a packet arrived twice";
    ASSERT_EQ(packet.size(), 44u);
    EXPECT_EQ(IpAddress::from_bytes([&] {
                std::array<std::uint8_t, 16> bytes;
                std::copy_n(packet.begin() + 8, 16, bytes.begin());
                return bytes;
              }()),
              testing::ip(source));
  }
}

// Packets carry a number, so that each is another.
void send_numbered(Pair& pair, Side& from, std::uint32_t number) {
  const bool is_left = &from == &pair.left;
  auto packet = testing::packet_v6(is_left ? testing::kLeftIp : testing::kRightIp,
                                   is_left ? testing::kRightIp : testing::kLeftIp, 4);
  for (std::size_t byte = 0; byte < 4; ++byte) {
    packet[40 + byte] = static_cast<std::uint8_t>(number >> (8 * byte));
  }
  from.device.send(packet, pair.now(), from.out);
}

struct Course {
  std::uint64_t seed;
  Trouble trouble;
};

class Link : public ::testing::TestWithParam<Course> {};

TEST_P(Link, DeliversOnceAndRecovers) {
  Pair::Options options;
  options.seed = GetParam().seed;
  options.right_knows_left = true;
  Pair pair(options);
  pair.trouble = GetParam().trouble;
  std::uint32_t number = 0;
  // Ten virtual minutes, two packets each way every 100 ms: five rekeys under trouble.
  for (int turn = 0; turn < 6000; ++turn) {
    for (Side* const side : {&pair.left, &pair.right}) {
      send_numbered(pair, *side, number++);
      send_numbered(pair, *side, number++);
    }
    pair.tick();
    const std::size_t waiting = pair.under_way.size();
    for (std::size_t step = 0; step < waiting && !pair.under_way.empty(); ++step) pair.step();
    pair.time += 100ms;
  }
  expect_each_once(pair.left, testing::kRightIp);
  expect_each_once(pair.right, testing::kLeftIp);
  const double arrived =
      static_cast<double>(pair.left.packets.size() + pair.right.packets.size()) / number;
  EXPECT_GT(arrived, 0.5) << "of " << number;

  pair.trouble = {};
  pair.run_for(20s);
  pair.clear();
  pair.send(pair.left);
  pair.send(pair.right);
  pair.run_for(6s);
  EXPECT_EQ(pair.left.packets.size(), 1u);
  EXPECT_EQ(pair.right.packets.size(), 1u);
}

INSTANTIATE_TEST_SUITE_P(
    All, Link,
    ::testing::Values(Course{1, {}}, Course{2, {.lost = 100}}, Course{3, {.doubled = 200}},
                      Course{4, {.damaged = 100}}, Course{5, {.reordered = 500}},
                      Course{6, {.lost = 100, .doubled = 100, .damaged = 50, .reordered = 300}},
                      Course{7, {.lost = 300, .doubled = 50, .damaged = 10, .reordered = 900}}),
    [](const auto& info) { return "Seed" + std::to_string(info.param.seed); });

}  // namespace
}  // namespace rooster::tunnel
