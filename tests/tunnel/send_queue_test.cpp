#include "tunnel/send_queue.hpp"

#include <gtest/gtest.h>

namespace rooster::tunnel {
namespace {

const TunnelEndpoint kTo = TunnelEndpoint::udp({*IpAddress::parse("192.0.2.1"), 1});

std::vector<std::uint8_t> run_of(std::size_t bytes) {
  return std::vector<std::uint8_t>(bytes);
}

TEST(SendQueue, PeersTakeTurnsWhateverTheyHaveQueued) {
  SendQueue queue;
  queue.push(PeerId{1}, kTo, run_of(300'000), 1000);
  queue.push(PeerId{2}, kTo, run_of(20'000), 1000);
  std::size_t of_first = 0, of_second = 0;
  while (of_second < 20'000) {
    ASSERT_FALSE(queue.empty());
    const std::size_t bytes = queue.next().size();
    EXPECT_EQ(bytes % 1000, 0u) << "whole datagrams";
    (queue.front().peer == PeerId{1} ? of_first : of_second) += bytes;
    queue.sent(bytes);
  }
  EXPECT_LE(of_first, 2 * SendQueue::kQuantum);
}

TEST(SendQueue, WhatTheSocketDidNotTakeComesNext) {
  SendQueue queue;
  queue.push(PeerId{1}, kTo, run_of(5000), 1000);
  queue.push(PeerId{2}, kTo, run_of(1000), 1000);
  ASSERT_EQ(queue.next().size(), 5000u);
  queue.sent(2000);
  EXPECT_EQ(queue.front().peer, PeerId{1});
  EXPECT_EQ(queue.next().size(), 3000u);
  queue.sent(3000);
  EXPECT_EQ(queue.front().peer, PeerId{2});
  queue.sent(1000);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.bytes(), 0u);
}

TEST(SendQueue, APeersShareIsBoundedAndTheRestDropped) {
  SendQueue queue;
  for (int i = 0; i < 20; ++i) queue.push(PeerId{1}, kTo, run_of(64'000), 1000);
  EXPECT_LE(queue.bytes(), SendQueue::kMaxPeerBytes);
  EXPECT_EQ(queue.dropped(), 20u * 64 - queue.bytes() / 1000);
  queue.push(PeerId{2}, kTo, run_of(1000), 1000);
  queue.forget(PeerId{1});
  EXPECT_EQ(queue.bytes(), 1000u);
  EXPECT_EQ(queue.front().peer, PeerId{2});
}

TEST(SendQueue, ADatagramLargerThanTheQuantumStillGoes) {
  SendQueue queue;
  queue.push(PeerId{1}, kTo, run_of(60'000), 60'000);
  queue.push(PeerId{2}, kTo, run_of(100), 100);
  EXPECT_EQ(queue.next().size(), 60'000u);
  queue.sent(60'000);
  EXPECT_EQ(queue.front().peer, PeerId{2});
}

}  // namespace
}  // namespace rooster::tunnel
