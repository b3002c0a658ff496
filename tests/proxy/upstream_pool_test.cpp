#include "proxy/upstream_pool.hpp"

#include "tests/proxy/edge.hpp"

#include <gtest/gtest.h>

#include <map>

namespace rooster::proxy {
namespace {

using namespace std::chrono_literals;
using testing::TcpPair;

class UpstreamPoolTest : public ::testing::Test {
 protected:
  UpstreamConnectionPtr make(std::uint16_t port = 80, std::uint16_t generation = 1) {
    TcpPair pair;
    auto made = std::make_unique<UpstreamConnection>(loop_, std::move(pair.ours),
                                                     Pollable::kWritable, load_, generation, port);
    others_[made.get()] = std::move(pair.theirs);
    return made;
  }
  UpstreamKey key(std::uint16_t port = 80, std::uint16_t generation = 1) {
    return {load_.get(), generation, port};
  }
  void turn() {
    for (int i = 0; i < 3; ++i) loop_.run_for(1ms);
  }

  Loop loop_;
  std::shared_ptr<machines::MachineLoad> load_ = std::make_shared<machines::MachineLoad>(AppId{0});
  std::map<const UpstreamConnection*, Descriptor> others_;
  const TimePoint now_ = Clock::now();
  UpstreamPool pool_{4, 3};
};

TEST_F(UpstreamPoolTest, LendsTheOneThatWasUsedLast) {
  auto first = make();
  auto second = make();
  const auto* expected = second.get();
  pool_.give_back(std::move(first), now_);
  pool_.give_back(std::move(second), now_ + 1ms);
  EXPECT_EQ(pool_.take(key(), now_ + 2ms, 4s).get(), expected);
  EXPECT_EQ(pool_.idle(), 1u);
}

TEST_F(UpstreamPoolTest, LendsOnlyToTheSameStartAndPort) {
  pool_.give_back(make(80, 1), now_);
  EXPECT_EQ(pool_.take(key(80, 2), now_, 4s), nullptr);
  EXPECT_EQ(pool_.take(key(81, 1), now_, 4s), nullptr);
  EXPECT_NE(pool_.take(key(80, 1), now_, 4s), nullptr);
}

TEST_F(UpstreamPoolTest, WhatIsIdleForTooLongIsNotLent) {
  pool_.give_back(make(), now_);
  EXPECT_EQ(pool_.take(key(), now_ + 1s, limits::kPoolIdleNonIdempotent), nullptr);
  EXPECT_EQ(pool_.idle(), 1u) << "a GET may still have it";
  EXPECT_NE(pool_.take(key(), now_ + 1s, limits::kPoolIdle), nullptr);
}

TEST_F(UpstreamPoolTest, WhatTheAppClosedOrSaidUnaskedIsDropped) {
  for (const bool close : {false, true}) {
    auto spoiled = make();
    Descriptor& other = others_[spoiled.get()];
    auto good = make();
    const auto* expected = good.get();
    pool_.give_back(std::move(good), now_);
    pool_.give_back(std::move(spoiled), now_);
    if (close) {
      other.reset();
    } else {
      EXPECT_EQ(::write(other.get(), "x", 1), 1);
    }
    turn();
    EXPECT_EQ(pool_.take(key(), now_, 4s).get(), expected);
    EXPECT_EQ(pool_.idle(), 0u);
  }
}

TEST_F(UpstreamPoolTest, IsBoundedForEachAndForAll) {
  for (int i = 0; i < 5; ++i) pool_.give_back(make(80), now_);
  EXPECT_EQ(pool_.idle(), 3u);
  for (int i = 0; i < 5; ++i) pool_.give_back(make(81), now_);
  EXPECT_EQ(pool_.idle(), 4u);
}

TEST_F(UpstreamPoolTest, SweepsWhatIsTooOld) {
  pool_.give_back(make(), now_);
  pool_.give_back(make(), now_ + 2s);
  pool_.sweep(now_ + 3s);
  EXPECT_EQ(pool_.idle(), 2u);
  pool_.sweep(now_ + 4s);
  EXPECT_EQ(pool_.idle(), 1u);
  pool_.sweep(now_ + 6s);
  EXPECT_EQ(pool_.idle(), 0u);
}

TEST_F(UpstreamPoolTest, DropsAllOfAMachine) {
  pool_.give_back(make(80), now_);
  pool_.give_back(make(81), now_);
  const machines::MachineLoad other(AppId{0});
  pool_.drop(other);
  EXPECT_EQ(pool_.idle(), 2u);
  pool_.drop(*load_);
  EXPECT_EQ(pool_.idle(), 0u);
}

TEST_F(UpstreamPoolTest, DropsTheOldestFirst) {
  pool_.give_back(make(80), now_ + 1s);
  pool_.give_back(make(81), now_);
  pool_.give_back(make(81), now_ + 2s);
  pool_.drop_oldest(1);
  EXPECT_EQ(pool_.idle(), 2u);
  EXPECT_NE(pool_.take(key(80), now_ + 2s, 4s), nullptr);
  EXPECT_NE(pool_.take(key(81), now_ + 2s, 4s), nullptr);
  EXPECT_EQ(pool_.idle(), 0u);
  pool_.drop_oldest(3);
}

}  // namespace
}  // namespace rooster::proxy
