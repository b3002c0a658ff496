#include "proxy/peer_load.hpp"

#include <gtest/gtest.h>

namespace rooster::proxy {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint kStart{1000s};

TEST(PeerLoad, BoundsConnections) {
  PeerLoad load({.connections = 2, .waiting = 1, .new_per_second = 100});
  EXPECT_TRUE(load.try_open(kStart));
  EXPECT_TRUE(load.try_open(kStart));
  EXPECT_FALSE(load.try_open(kStart));
  EXPECT_EQ(load.connections(), 2u);
  EXPECT_EQ(load.refusals(), 1u);
  load.close();
  EXPECT_TRUE(load.try_open(kStart));
}

TEST(PeerLoad, BoundsNewConnectionsASecond) {
  PeerLoad load({.connections = 1000, .waiting = 1, .new_per_second = 200});
  int opened = 0;
  for (int i = 0; i < 1000; ++i) opened += load.try_open(kStart) ? 1 : 0;
  EXPECT_EQ(opened, 200);
  EXPECT_EQ(load.refusals(), 800u);
  for (int i = 0; i < 1000; ++i) opened += load.try_open(kStart + 500ms) ? 1 : 0;
  EXPECT_EQ(opened, 300);
  EXPECT_TRUE(load.try_open(kStart + 60s));
}

TEST(PeerLoad, AThousandShortConnectionsASecondHoldAndAFloodDoesNot) {
  PeerLoad load;
  for (int i = 0; i < 10'000; ++i) {
    ASSERT_TRUE(load.try_open(kStart + i * 1ms)) << "connection " << i;
    load.close();
  }
  int opened = 0;
  for (int i = 0; i < 100'000; ++i) {
    const bool is_open = load.try_open(kStart + 60s + i * 100us);
    if (!is_open) continue;
    ++opened;
    load.close();
  }
  // Ten seconds, and the burst.
  EXPECT_NEAR(opened, static_cast<int>(11 * limits::kPeerNewPerSecond), 2);
}

TEST(PeerLoad, BoundsWaiting) {
  PeerLoad load({.connections = 10, .waiting = 1, .new_per_second = 200});
  EXPECT_TRUE(load.try_wait());
  EXPECT_FALSE(load.try_wait());
  load.stop_waiting();
  EXPECT_TRUE(load.try_wait());
  EXPECT_EQ(load.waiting(), 1u);
}

}  // namespace
}  // namespace rooster::proxy
