#include "machines/load.hpp"

#include <gtest/gtest.h>

#include <array>
#include <thread>
#include <vector>

namespace rooster::machines {
namespace {

using namespace std::chrono_literals;

constexpr AppId kApp{7};

TEST(LoadWord, PackingKeepsEveryField) {
  for (LoadWord word :
       {LoadWord{.generation = 0xFFFF, .closed = false, .takes = 0x7FFFFF, .in_flight = 0},
        LoadWord{.generation = 1, .closed = true, .takes = 0, .in_flight = 0xFFFFFF}, LoadWord{}}) {
    const LoadWord again = LoadWord::unpack(word.pack());
    EXPECT_EQ(again.generation, word.generation);
    EXPECT_EQ(again.closed, word.closed);
    EXPECT_EQ(again.takes, word.takes);
    EXPECT_EQ(again.in_flight, word.in_flight);
  }
}

TEST(MachineLoad, NewWordIsClosed) {
  MachineLoad load(kApp);
  EXPECT_FALSE(load.try_take(0, 1));
}

TEST(MachineLoad, LeaseNeedsTheGenerationOfTheLastOpening) {
  MachineLoad load(kApp);
  const std::uint16_t first = load.reopen(0);
  load.close();
  const std::uint16_t second = load.reopen(0);
  EXPECT_FALSE(load.try_take(first, 1));
  EXPECT_TRUE(load.try_take(second, 1));
  load.release();
}

TEST(MachineLoad, LeaseStopsAtTheLimit) {
  MachineLoad load(kApp);
  const std::uint16_t generation = load.reopen(0);
  Lease one = Lease::try_take(load, generation, 2, nullptr);
  Lease two = Lease::try_take(load, generation, 2, nullptr);
  EXPECT_TRUE(one && two);
  EXPECT_FALSE(Lease::try_take(load, generation, 2, nullptr));
  one.drop();
  EXPECT_TRUE(Lease::try_take(load, generation, 2, nullptr));
}

TEST(MachineLoad, ClosesOnlyAfterTheIdleTimeoutWithNothingInFlight) {
  MachineLoad load(kApp);
  const std::int64_t now = boot_milliseconds();
  const std::uint16_t generation = load.reopen(now);
  EXPECT_FALSE(load.close_if_idle(now + 999, 1s));
  {
    Lease lease = Lease::try_take(load, generation, 10, nullptr);
    EXPECT_FALSE(load.close_if_idle(now + 100'000, 1s));
  }
  EXPECT_GE(load.idle_since(), now);
  EXPECT_FALSE(load.close_if_idle(load.idle_since() + 999, 1s));
  EXPECT_TRUE(load.close_if_idle(load.idle_since() + 1000, 1s));
  EXPECT_FALSE(load.close_if_idle(load.idle_since() + 1000, 1s));
  EXPECT_FALSE(load.try_take(generation, 10));
  load.reopen_same(now);
  EXPECT_TRUE(load.try_take(generation, 10));
  load.release();
}

TEST(MachineLoad, ConnectionsStartSlowlyAndDoubleWithTheResponses) {
  MachineLoad load(kApp);
  load.set_connection_cap(100);
  load.reopen(0);
  EXPECT_EQ(load.connection_limit(), 16U);
  for (int i = 0; i < 16; ++i) EXPECT_TRUE(load.try_open_connection());
  EXPECT_FALSE(load.try_open_connection());
  for (int i = 0; i < 15; ++i) load.response_seen();
  EXPECT_EQ(load.connection_limit(), 16U);
  load.response_seen();
  EXPECT_EQ(load.connection_limit(), 32U);
  for (int i = 0; i < 32 + 64; ++i) load.response_seen();
  EXPECT_EQ(load.connection_limit(), 100U);
  load.close();
  load.reopen(0);
  EXPECT_EQ(load.connection_limit(), 16U);
  EXPECT_EQ(load.connections(), 16U);
}

TEST(MachineLoad, TunnelGivesItsConnectionSlotBackUnlessThereIsAHardLimit) {
  MachineLoad load(kApp);
  const std::uint16_t generation = load.reopen(0);
  config::Concurrency none{};
  config::Concurrency hard{.hard_limit = 4};
  Lease lease = Lease::try_take(load, generation, load.in_flight_limit(none), nullptr);
  ASSERT_TRUE(load.try_open_connection());
  EXPECT_FALSE(lease.become_tunnel(hard));
  EXPECT_TRUE(lease.become_tunnel(none));
  EXPECT_EQ(load.connections(), 0U);
  EXPECT_EQ(load.in_flight_limit(none), 17U);
  EXPECT_EQ(load.in_flight_limit(hard), 4U);
  lease.drop();
  EXPECT_EQ(load.in_flight_limit(none), 16U);
  EXPECT_EQ(load.in_flight(), 0U);
}

TEST(MachineLoad, WaitingWorkersAreToldRoundRobin) {
  MachineLoad load(kApp);
  EXPECT_FALSE(load.next_waiting_worker());
  load.add_waiter(WorkerId{1});
  load.add_waiter(WorkerId{5});
  load.add_waiter(WorkerId{63});
  EXPECT_EQ(load.next_waiting_worker(), WorkerId{1});
  EXPECT_EQ(load.next_waiting_worker(), WorkerId{5});
  EXPECT_EQ(load.next_waiting_worker(), WorkerId{63});
  EXPECT_EQ(load.next_waiting_worker(), WorkerId{1});
  load.remove_waiter(WorkerId{5});
  EXPECT_EQ(load.next_waiting_worker(), WorkerId{63});
}

struct CountingSink : SlotSink {
  void slot_released(MachineLoad& /*load*/) override { ++released; }
  int released = 0;
};

TEST(Lease, TellsTheSinkOnlyWhileSomebodyWaits) {
  MachineLoad load(kApp);
  CountingSink sink;
  const std::uint16_t generation = load.reopen(0);
  {
    Lease lease = Lease::try_take(load, generation, 1, &sink);
  }
  EXPECT_EQ(sink.released, 0);
  load.add_waiter(WorkerId{0});
  {
    Lease lease = Lease::try_take(load, generation, 1, &sink);
    Lease moved = std::move(lease);
    EXPECT_FALSE(lease);  // NOLINT(bugprone-use-after-move): a moved-from Lease is empty
  }
  EXPECT_EQ(sink.released, 1);
}

// Contract 6: three workers lease while a reaper closes and reopens. A lease that was taken keeps
// the machine; a machine that was closed is never leased.
TEST(MachineLoad, NoLeaseIsEverTakenOfAClosedMachineUnderRace) {
  MachineLoad load(kApp);
  std::atomic<std::uint16_t> published{load.reopen(boot_milliseconds())};
  std::atomic<bool> is_stopped{false};  // what the reaper does to the app between close and reopen
  std::atomic<bool> done{false};
  std::atomic<std::uint64_t> violations{0};
  std::atomic<std::uint64_t> taken{0};
  constexpr std::uint32_t kLimit = 2;
  std::atomic<std::uint32_t> held{0};

  const auto worker = [&] {
    while (!done.load(std::memory_order_relaxed)) {
      Lease lease =
          Lease::try_take(load, published.load(std::memory_order_acquire), kLimit, nullptr);
      if (!lease) continue;
      if (is_stopped.load(std::memory_order_relaxed)) violations.fetch_add(1);
      if (held.fetch_add(1) + 1 > kLimit) violations.fetch_add(1);
      taken.fetch_add(1, std::memory_order_relaxed);
      if (is_stopped.load(std::memory_order_relaxed)) violations.fetch_add(1);
      held.fetch_sub(1);
      lease.drop();
      std::this_thread::yield();  // else the word is never free on two cores
    }
  };
  std::vector<std::thread> workers;
  for (int i = 0; i < 3; ++i) workers.emplace_back(worker);
  int stops = 0;
  const TimePoint cap = Clock::now() + 5s;
  while (stops < 2'000 && Clock::now() < cap) {
    if (!load.close_if_idle(boot_milliseconds() + 1, 0ms)) continue;
    is_stopped.store(true, std::memory_order_relaxed);
    if (load.in_flight() != 0) violations.fetch_add(1);
    ++stops;
    is_stopped.store(false, std::memory_order_relaxed);
    published.store(load.reopen(boot_milliseconds()), std::memory_order_release);
  }
  done = true;
  for (auto& thread : workers) thread.join();
  EXPECT_EQ(violations.load(), 0U);
  EXPECT_GT(stops, 0);
  EXPECT_EQ(load.in_flight(), 0U);
}

TEST(Lease, AnAwakeOneCountsAgainstNoLimit) {
  MachineLoad load{AppId{0}};
  const std::uint16_t generation = load.reopen(0);
  const config::Concurrency concurrency{.hard_limit = 1};
  Lease awake = Lease::try_take_awake(load, generation, nullptr);
  ASSERT_TRUE(awake);
  EXPECT_FALSE(load.close_if_idle(1'000'000, std::chrono::milliseconds(1)));
  Lease counted = Lease::try_take(load, generation, load.in_flight_limit(concurrency), nullptr);
  ASSERT_TRUE(counted);
  EXPECT_FALSE(Lease::try_take(load, generation, load.in_flight_limit(concurrency), nullptr));
  Lease moved = std::move(awake);
  moved.drop();
  EXPECT_EQ(load.in_flight(), 1u);
  EXPECT_FALSE(Lease::try_take(load, generation, load.in_flight_limit(concurrency), nullptr));
  counted.drop();
  EXPECT_EQ(load.in_flight(), 0u);
  load.close();
  EXPECT_FALSE(Lease::try_take_awake(load, generation, nullptr));
}

}  // namespace
}  // namespace rooster::machines
