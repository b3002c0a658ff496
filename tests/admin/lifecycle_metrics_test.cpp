#include "admin/lifecycle_metrics.hpp"

#include "tests/admin/facts.hpp"

#include <gtest/gtest.h>

namespace rooster::admin {
namespace {

using namespace testing;
using Kind = machines::LedgerEntry::Kind;

constexpr MetricSeconds kSeconds = 100'000;

class LifecycleMetricsTest : public ::testing::Test {
 protected:
  void add(Kind kind, std::chrono::milliseconds at) { ledger_.add(entry(kind, at, "", "")); }
  void count(const machines::Output& output = {}) { metrics_.count(output, ledger_, kSeconds); }
  AppLifecycle& app() { return control_.apps.of(AppId{0}, kSeconds); }

  ControlMetrics control_;
  machines::Ledger ledger_{100};
  LifecycleMetrics metrics_{control_};
};

TEST_F(LifecycleMetricsTest, CountsAWakeOnceAndHowLongItTook) {
  machines::Output output;
  output.commands.emplace_back(machines::StartMachine{.app = AppId{0}, .spec = {}});
  add(Kind::Wake, 0ms);
  count(output);
  add(Kind::Ready, 350ms);
  count();
  count();
  EXPECT_EQ(app().starts.read(), 1U);
  EXPECT_EQ(app().wakes.read(), 1U);
  EXPECT_EQ(app().wake_time.sum_microseconds(), 350'000U);
}

TEST_F(LifecycleMetricsTest, TellsStopsFromExits) {
  add(Kind::Stop, 1ms);
  add(Kind::Exit, 2ms);
  add(Kind::Exit, 3ms);
  count();
  EXPECT_EQ(app().stops.read(), 1U);
  EXPECT_EQ(app().exits.read(), 1U);
}

TEST_F(LifecycleMetricsTest, ForgetsAStopThatWasTakenBack) {
  add(Kind::Stop, 1ms);
  add(Kind::Wake, 2ms);
  add(Kind::Exit, 3ms);
  count();
  EXPECT_EQ(app().exits.read(), 1U);
  EXPECT_EQ(app().stops.read(), 0U);
}

TEST_F(LifecycleMetricsTest, KnowsHowManyMachinesRun) {
  machines::Output output;
  output.facts = {FactsMaker().phase(machines::WakePhase::Ready).make().view};
  count(output);
  EXPECT_EQ(app().machines_up.read(), 1);
  output.facts = {FactsMaker().make().view};
  count(output);
  EXPECT_EQ(app().machines_up.read(), 0);
}

TEST_F(LifecycleMetricsTest, MakesNoSeriesForAddresses) {
  FactsMaker maker;
  maker.config().rooster.driver = config::DriverKind::Address;
  machines::Output output;
  output.facts = {maker.phase(machines::WakePhase::Ready).make().view};
  count(output);
  std::size_t series = 0;
  control_.apps.for_each(0, [&series](AppId, const AppLifecycle&) { ++series; });
  EXPECT_EQ(series, 0U);
}

TEST_F(LifecycleMetricsTest, MissesNoEntryOfALongTurn) {
  add(Kind::WakeFailed, 0ms);
  count();
  for (int i = 1; i <= 50; ++i) add(Kind::WakeFailed, std::chrono::milliseconds(i));
  count();
  EXPECT_EQ(app().failed_wakes.read(), 51U);
}

}  // namespace
}  // namespace rooster::admin
