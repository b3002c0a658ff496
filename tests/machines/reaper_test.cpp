#include "machines/reaper.hpp"

#include <gtest/gtest.h>

namespace rooster::machines {
namespace {

using namespace std::chrono_literals;
using Stops = std::vector<std::size_t>;
constexpr std::int64_t kNow = 1'000'000;

struct Row {
  const char* name;
  std::vector<ReaperMachine> machines;
  std::size_t minimum;
  Stops stops;
};

TEST(Reaper, PicksTheLongestIdleOfEachRegion) {
  const ReaperRule rule{.autostop = config::Autostop::Stop, .idle_timeout = 100s, .soft_limit = 2};
  const auto idle = [](std::size_t index, std::string region, std::int64_t seconds) {
    return ReaperMachine{
        .index = index, .region = std::move(region), .idle_since_ms = kNow - seconds * 1000};
  };
  const auto busy = [](std::size_t index, std::string region, std::uint32_t in_flight) {
    return ReaperMachine{.index = index, .region = std::move(region), .in_flight = in_flight};
  };
  const Row rows[] = {
      {"none", {}, 0, {}},
      {"the only one, idle", {idle(0, "gru", 100)}, 0, {0}},
      {"not idle for long enough", {idle(0, "gru", 99)}, 0, {}},
      {"busy", {busy(0, "gru", 1)}, 0, {}},
      {"the minimum stays", {idle(0, "gru", 500)}, 1, {}},
      {"one above the minimum", {idle(0, "gru", 200), idle(1, "gru", 500)}, 1, {1}},
      {"one a pass and region",
       {idle(0, "gru", 200), idle(1, "gru", 500), idle(2, "iad", 300)},
       0,
       {1, 2}},
      {"a spare beside one over its soft limit", {busy(0, "gru", 2), idle(1, "gru", 500)}, 0, {}},
      {"no spare needed below the soft limit", {busy(0, "gru", 1), idle(1, "gru", 500)}, 0, {1}},
      {"the second spare goes",
       {busy(0, "gru", 2), idle(1, "gru", 500), idle(2, "gru", 400)},
       0,
       {1}},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(pick_idle(row.machines, rule, kNow, [&](const std::string&) { return row.minimum; }),
              row.stops)
        << row.name;
  }
}

TEST(Reaper, AutostopOffStopsNothing) {
  const ReaperRule rule{.autostop = config::Autostop::Off, .idle_timeout = 1s, .soft_limit = 2};
  EXPECT_TRUE(pick_idle({{.index = 0, .region = "gru"}}, rule, kNow, [](const auto&) {
                return std::size_t{0};
              }).empty());
}

}  // namespace
}  // namespace rooster::machines
