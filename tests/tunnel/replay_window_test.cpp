// Which counters a session takes, case by case and against a model that remembers all of them.
#include "tunnel/replay_window.hpp"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <vector>

namespace rooster::tunnel {
namespace {

constexpr std::uint64_t kWindow = 127 * 64;
constexpr std::uint64_t kLimit = kRejectAfterMessages;

struct Step {
  std::uint64_t counter;
  bool is_taken;
};

void run(const std::vector<Step>& steps) {
  ReplayWindow window;
  for (std::size_t at = 0; at < steps.size(); ++at) {
    SCOPED_TRACE(at);
    EXPECT_EQ(window.is_fresh(steps[at].counter), steps[at].is_taken);
    EXPECT_EQ(window.accept(steps[at].counter), steps[at].is_taken);
  }
}

TEST(ReplayWindow, TakesEachCounterOnce) {
  run({{0, true},
       {1, true},
       {1, false},
       {9, true},
       {8, true},
       {7, true},
       {7, false},
       {8, false},
       {9, false},
       {10, true},
       {2, true},
       {0, false}});
}

TEST(ReplayWindow, ForgetsWhatIsBehindIt) {
  run({{kWindow, true},
       {kWindow + 1, true},
       {0, false},
       {1, false},
       {2, true},
       {3, true},
       {kWindow + 1, false},
       {2, false}});
}

TEST(ReplayWindow, JumpsAnyDistance) {
  run({{5, true},
       {kWindow * 3, true},
       {kWindow * 2 + 1, true},
       {kWindow * 2, false},
       {kWindow * 3 - 1, true},
       {std::uint64_t{1} << 40, true},
       {kWindow * 3, false},
       {(std::uint64_t{1} << 40) - 1, true}});
}

TEST(ReplayWindow, RefusesCountersAtTheLimit) {
  run({{kLimit, false},
       {kLimit + 1, false},
       {~std::uint64_t{0}, false},
       {0, true},
       {kLimit - 1, true},
       {kLimit - 2, true},
       {kLimit - 1, false},
       {kLimit, false},
       {kLimit - kWindow, true},
       {kLimit - kWindow - 1, false},
       {0, false}});
}

TEST(ReplayWindow, WholeBlocksUpAndDown) {
  ReplayWindow up;
  for (std::uint64_t counter = 1; counter < kWindow; ++counter) ASSERT_TRUE(up.accept(counter));
  EXPECT_TRUE(up.accept(0));
  EXPECT_FALSE(up.accept(0));
  ReplayWindow down;
  for (std::uint64_t counter = kWindow; counter > 0; --counter) {
    ASSERT_TRUE(down.accept(counter - 1));
  }
  for (std::uint64_t counter = 0; counter < kWindow; ++counter) {
    ASSERT_FALSE(down.accept(counter));
  }
}

TEST(ReplayWindow, AgreesWithAModelThatForgetsNothing) {
  std::mt19937_64 random(7);
  ReplayWindow window;
  std::set<std::uint64_t> seen;
  std::uint64_t greatest = 0;
  for (int step = 0; step < 200'000; ++step) {
    const std::uint64_t reach = random() % 50 == 0 ? 20'000 : 300;
    const std::uint64_t counter = greatest + random() % reach - std::min(greatest, reach / 2);
    const bool is_recent = counter >= greatest || greatest + 1 - counter <= kWindow;
    const bool expected = is_recent && !seen.contains(counter);
    ASSERT_EQ(window.accept(counter), expected) << counter;
    if (!expected) continue;
    seen.insert(counter);
    greatest = std::max(greatest, counter);
  }
}

}  // namespace
}  // namespace rooster::tunnel
