#include "machines/wake_gate.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <list>

namespace rooster::machines {
namespace {

using namespace std::chrono_literals;
constexpr TimePoint kNow{1000s};
constexpr AppId kApp{3};

/// One app with one machine, whose views the test publishes by hand.
struct FakeApp {
  explicit FakeApp(config::Concurrency concurrency = {}, config::WakePolicy policy = {}) {
    auto made = std::make_shared<config::AppConfig>();
    made->services.push_back({});
    made->services[0].concurrency = concurrency;
    made->rooster.wake = policy;
    config = made;
    load->set_connection_cap(connection_cap(concurrency));
  }
  AppViewPtr view(WakeState wake) {
    auto made = std::make_shared<AppView>();
    made->id = kApp;
    made->config = config;
    made->waiting = waiting;
    made->epoch = ++epoch;
    const bool is_ready = wake.phase == WakePhase::Ready;
    made->machines.push_back({.id = {"m1"},
                              .load = load,
                              .load_generation = generation,
                              .routable = is_ready,
                              .awake = is_ready});
    made->wakes.push_back(std::move(wake));
    return made;
  }
  AppViewPtr asleep(std::uint64_t wake_generation) {
    return view({.generation = wake_generation, .phase = WakePhase::Asleep});
  }
  AppViewPtr waking(std::uint64_t wake_generation) {
    return view({.generation = wake_generation, .phase = WakePhase::Waking});
  }
  AppViewPtr ready(std::uint64_t wake_generation) {
    if (generation == 0) generation = load->reopen(boot_milliseconds());
    return view({.generation = wake_generation, .phase = WakePhase::Ready});
  }
  const config::Service* service() const { return config->services.data(); }

  std::shared_ptr<const config::AppConfig> config;
  std::shared_ptr<AppWaiting> waiting = std::make_shared<AppWaiting>();
  std::shared_ptr<MachineLoad> load = std::make_shared<MachineLoad>(kApp);
  std::uint16_t generation = 0;
  std::uint64_t epoch = 0;
};

struct Worker {
  explicit Worker(WaitingLimits& limits, std::uint8_t id = 0)
      : gate(WorkerId{id}, limits,
             {.wake = [this](WakeCommand command) { commands.push_back(std::move(command)); },
              .slot_free = [this](WorkerId to, AppId) { told.push_back(to.value); }}) {}
  ~Worker() { nodes.clear(); }
  WaitNode& node() {
    return nodes.emplace_back([this] { ++resumed; });
  }
  std::size_t count(WaitNode::State state) const {
    return static_cast<std::size_t>(
        std::ranges::count_if(nodes, [&](const auto& n) { return n.state() == state; }));
  }

  std::vector<WakeCommand> commands;
  std::vector<int> told;
  int resumed = 0;
  WakeGate gate;
  std::list<WaitNode> nodes;
};

Arriving arriving(const FakeApp& app, TimePoint deadline = kNow + 60s) {
  return {.service = app.service(),
          .attempt = {.source = *IpAddress::parse("192.0.2.1"), .method = "GET", .path = "/"},
          .now = kNow,
          .deadline = deadline,
          .bytes = 100};
}

class WakeGateTest : public testing::Test {
 protected:
  WaitingLimits limits_{1000};
};

TEST_F(WakeGateTest, ReadyAppPassesAtOnce) {
  FakeApp app;
  Worker worker(limits_);
  EXPECT_EQ(worker.gate.arrive(worker.node(), app.ready(1), arriving(app)).kind,
            Arrival::Kind::Pass);
  EXPECT_EQ(limits_.waiting(), 0U);
}

TEST_F(WakeGateTest, SecondRequestJoinsTheFirstWake) {
  FakeApp app;
  Worker worker(limits_);
  auto view = app.asleep(4);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(worker.gate.arrive(worker.node(), view, arriving(app)).kind, Arrival::Kind::Queued);
  }
  ASSERT_EQ(worker.commands.size(), 1U);
  EXPECT_EQ(worker.commands[0].generation, 4U);
  EXPECT_EQ(worker.commands[0].reason, "GET /");
  EXPECT_EQ(worker.commands[0].source, "192.0.2.1");
  worker.gate.adopt(app.waking(4), kNow);
  EXPECT_EQ(worker.resumed, 0);
  worker.gate.adopt(app.ready(4), kNow);
  EXPECT_EQ(worker.count(WaitNode::State::Granted), 5U);
  EXPECT_EQ(worker.resumed, 5);
  worker.nodes.clear();
  EXPECT_EQ(limits_.waiting(), 0U);
  EXPECT_EQ(limits_.waiting_bytes(), 0U);
  EXPECT_EQ(app.waiting->count, 0U);
}

TEST_F(WakeGateTest, ReadyGrantsAsManyAsThereAreSlotsInOrder) {
  FakeApp app({.hard_limit = 2});
  Worker worker(limits_);
  auto view = app.asleep(1);
  for (int i = 0; i < 5; ++i) (void)worker.gate.arrive(worker.node(), view, arriving(app));
  worker.gate.adopt(app.ready(1), kNow);
  std::vector<WaitNode*> order;
  for (auto& node : worker.nodes) order.push_back(&node);
  EXPECT_EQ(worker.count(WaitNode::State::Granted), 2U);
  EXPECT_EQ(order[0]->state(), WaitNode::State::Granted);
  EXPECT_EQ(order[1]->state(), WaitNode::State::Granted);
  Lease one = Lease::try_take(*app.load, app.generation, 2, &worker.gate);
  order[0]->leave();
  Lease two = Lease::try_take(*app.load, app.generation, 2, &worker.gate);
  order[1]->leave();
  ASSERT_TRUE(one && two);
  EXPECT_EQ(worker.count(WaitNode::State::Granted), 0U);
  one.drop();
  EXPECT_EQ(order[2]->state(), WaitNode::State::Granted);
  EXPECT_EQ(order[3]->state(), WaitNode::State::Queued);
}

TEST_F(WakeGateTest, ArrivalNeverOvertakesAWaiter) {
  FakeApp app({.hard_limit = 1});
  Worker worker(limits_);
  auto view = app.ready(1);
  Lease busy = Lease::try_take(*app.load, app.generation, 1, &worker.gate);
  WaitNode& first = worker.node();
  EXPECT_EQ(worker.gate.wait_for_slot(first, view, arriving(app)).kind, Arrival::Kind::Queued);
  WaitNode& second = worker.node();
  EXPECT_EQ(worker.gate.arrive(second, view, arriving(app)).kind, Arrival::Kind::Queued);
  busy.drop();
  EXPECT_EQ(first.state(), WaitNode::State::Granted);
  EXPECT_EQ(second.state(), WaitNode::State::Queued);
}

TEST_F(WakeGateTest, GrantedThatLostTheSlotWaitsInFront) {
  FakeApp app({.hard_limit = 1});
  Worker worker(limits_);
  auto view = app.asleep(1);
  WaitNode& first = worker.node();
  WaitNode& second = worker.node();
  (void)worker.gate.arrive(first, view, arriving(app));
  (void)worker.gate.arrive(second, view, arriving(app));
  view = app.ready(1);
  worker.gate.adopt(view, kNow);
  ASSERT_EQ(first.state(), WaitNode::State::Granted);
  Lease stolen = Lease::try_take(*app.load, app.generation, 1, &worker.gate);  // by another worker
  EXPECT_EQ(worker.gate.wait_for_slot(first, view, arriving(app)).kind, Arrival::Kind::Queued);
  stolen.drop();
  EXPECT_EQ(first.state(), WaitNode::State::Granted);
  EXPECT_EQ(second.state(), WaitNode::State::Queued);
}

TEST_F(WakeGateTest, SlotThatIsFreeByNowPassesAtOnceWithoutAResume) {
  FakeApp app({.hard_limit = 1});
  Worker worker(limits_);
  EXPECT_EQ(worker.gate.wait_for_slot(worker.node(), app.ready(1), arriving(app)).kind,
            Arrival::Kind::Pass);
  EXPECT_EQ(worker.resumed, 0);
}

TEST_F(WakeGateTest, GrantedThatLeavesWithoutALeaseHandsItsSlotOn) {
  FakeApp app({.hard_limit = 1});
  Worker worker(limits_);
  auto view = app.asleep(1);
  WaitNode& first = worker.node();
  WaitNode& second = worker.node();
  (void)worker.gate.arrive(first, view, arriving(app));
  (void)worker.gate.arrive(second, view, arriving(app));
  worker.gate.adopt(app.ready(1), kNow);
  first.leave();
  EXPECT_EQ(second.state(), WaitNode::State::Granted);
}

TEST_F(WakeGateTest, SlotIsToldToTheOtherWorker) {
  FakeApp app({.hard_limit = 1});
  Worker here(limits_, 0);
  Worker there(limits_, 1);
  auto view = app.ready(1);
  Lease busy = Lease::try_take(*app.load, app.generation, 1, &here.gate);
  WaitNode& waiter = there.node();
  ASSERT_EQ(there.gate.wait_for_slot(waiter, view, arriving(app)).kind, Arrival::Kind::Queued);
  busy.drop();
  ASSERT_EQ(here.told, std::vector<int>{1});
  there.gate.slot_free(kApp);
  EXPECT_EQ(waiter.state(), WaitNode::State::Granted);
  EXPECT_FALSE(app.load->has_waiters());
}

TEST_F(WakeGateTest, WorkerThatDrainsHandsTheSlotToTheNextWorker) {
  FakeApp app({.hard_limit = 1});
  Worker here(limits_, 0);
  Worker there(limits_, 1);
  auto view = app.ready(1);
  Lease busy = Lease::try_take(*app.load, app.generation, 1, nullptr);
  WaitNode& leaves = here.node();
  WaitNode& stays = there.node();
  (void)here.gate.wait_for_slot(leaves, view, arriving(app));
  (void)there.gate.wait_for_slot(stays, view, arriving(app));
  busy.drop();  // told worker 0, say, whose only waiter goes before the message comes
  leaves.leave();
  EXPECT_EQ(here.told, std::vector<int>{1});
}

TEST_F(WakeGateTest, FailedWakeLetsAllLeaveWithItsFault) {
  FakeApp app;
  Worker worker(limits_);
  auto view = app.asleep(1);
  for (int i = 0; i < 3; ++i) (void)worker.gate.arrive(worker.node(), view, arriving(app));
  worker.gate.adopt(app.view({.generation = 2,
                              .phase = WakePhase::Failed,
                              .fault = Fault::ExecFailed,
                              .retry_at = kNow + 2s}),
                    kNow);
  EXPECT_EQ(worker.count(WaitNode::State::Failed), 3U);
  EXPECT_EQ(worker.nodes.front().fault(), Fault::ExecFailed);
  EXPECT_EQ(worker.nodes.front().retry_at(), kNow + 2s);
  EXPECT_EQ(limits_.waiting(), 0U);
}

TEST_F(WakeGateTest, BackoffRefusesUntilItsEndThenWakesAgain) {
  FakeApp app;
  Worker worker(limits_);
  auto view = app.view({.generation = 2,
                        .phase = WakePhase::Failed,
                        .fault = Fault::ExecFailed,
                        .retry_at = kNow + 2s});
  Arrival arrival = worker.gate.arrive(worker.node(), view, arriving(app));
  EXPECT_EQ(arrival.kind, Arrival::Kind::Refused);
  EXPECT_EQ(arrival.fault, Fault::WakeBackoff);
  EXPECT_EQ(arrival.cause, Fault::ExecFailed);
  EXPECT_EQ(arrival.retry_at, kNow + 2s);
  Arriving later = arriving(app);
  later.now = kNow + 2s;
  WaitNode& waiter = worker.node();
  EXPECT_EQ(worker.gate.arrive(waiter, view, later).kind, Arrival::Kind::Queued);
  ASSERT_EQ(worker.commands.size(), 1U);
  worker.gate.adopt(app.view({.generation = 2, .phase = WakePhase::Failed, .retry_at = kNow + 2s}),
                    kNow + 2s);
  EXPECT_EQ(waiter.state(), WaitNode::State::Queued) << "an old failure is not its own";
  EXPECT_EQ(worker.commands.size(), 1U);
}

TEST_F(WakeGateTest, RefusalsByState) {
  FakeApp app;
  struct Row {
    WakeState wake;
    Fault fault;
  };
  for (const Row& row :
       {Row{{.phase = WakePhase::Asleep, .autostart = false}, Fault::AutostartOff},
        Row{{.phase = WakePhase::Stopping, .stop_ends_at = kNow + 61s}, Fault::StopPending},
        Row{{.phase = WakePhase::Failed, .fault = Fault::NotWakeable, .retry_at = kNever},
            Fault::NotWakeable}}) {
    Worker worker(limits_);
    Arrival arrival = worker.gate.arrive(worker.node(), app.view(row.wake), arriving(app));
    EXPECT_EQ(arrival.kind, Arrival::Kind::Refused);
    EXPECT_EQ(arrival.fault, row.fault);
  }
}

TEST_F(WakeGateTest, ArrivalWhileStoppingWaitsAndAsksForANewStart) {
  FakeApp app;
  Worker worker(limits_);
  auto view = app.view({.generation = 5, .phase = WakePhase::Stopping, .stop_ends_at = kNow + 5s});
  WaitNode& waiter = worker.node();
  EXPECT_EQ(worker.gate.arrive(waiter, view, arriving(app)).kind, Arrival::Kind::Queued);
  EXPECT_EQ(worker.commands.size(), 1U);
  worker.gate.adopt(app.asleep(6), kNow);
  EXPECT_EQ(waiter.state(), WaitNode::State::Queued);
  EXPECT_EQ(worker.commands.size(), 2U);
}

TEST_F(WakeGateTest, PolicyKeepsTheAppAsleepButLetsOthersRideAlong) {
  config::WakePolicy policy;
  policy.deny_paths = {"/bot"};
  FakeApp app({}, policy);
  Worker worker(limits_);
  auto view = app.asleep(1);
  Arriving bot = arriving(app);
  bot.attempt.path = "/bot";
  EXPECT_EQ(worker.gate.arrive(worker.node(), view, bot).fault, Fault::WakePolicy);
  EXPECT_TRUE(worker.commands.empty());
  (void)worker.gate.arrive(worker.node(), view, arriving(app));
  EXPECT_EQ(worker.commands.size(), 1U);
  EXPECT_EQ(worker.gate.arrive(worker.node(), view, bot).kind, Arrival::Kind::Queued);
}

TEST_F(WakeGateTest, SlotWaiterWakesTheAppWhenItsMachineDied) {
  FakeApp app({.hard_limit = 1});
  Worker worker(limits_);
  auto view = app.ready(1);
  Lease busy = Lease::try_take(*app.load, app.generation, 1, &worker.gate);
  (void)worker.gate.wait_for_slot(worker.node(), view, arriving(app));
  app.load->close();
  worker.gate.adopt(app.asleep(2), kNow);
  EXPECT_EQ(worker.commands.size(), 1U);
  busy.drop();
}

TEST_F(WakeGateTest, RemovedAppLetsAllLeave) {
  FakeApp app;
  Worker worker(limits_);
  WaitNode& waiter = worker.node();
  (void)worker.gate.arrive(waiter, app.asleep(1), arriving(app));
  auto gone = std::make_shared<AppView>(*app.asleep(1));
  gone->removed = true;
  worker.gate.adopt(gone, kNow);
  EXPECT_EQ(waiter.fault(), Fault::NoRoute);
}

TEST(WaitingLimits, OneAppLeavesRoomForTheOthers) {
  WaitingLimits limits(1000);
  auto big = std::make_shared<AppWaiting>();
  std::vector<WaitingPlace> places;
  for (int i = 0; i < 2000; ++i) {
    auto place = WaitingPlace::take(limits, big, 0);
    if (place) places.push_back(std::move(place));
  }
  EXPECT_EQ(places.size(), 850U);
  auto small = std::make_shared<AppWaiting>();
  for (int i = 0; i < 64; ++i) {
    places.push_back(WaitingPlace::take(limits, small, 0));
    EXPECT_TRUE(places.back());
  }
  places.clear();
  EXPECT_EQ(limits.waiting(), 0U);
  EXPECT_EQ(big->count, 0U);
}

TEST(WaitingLimits, BytesAreBounded) {
  WaitingLimits limits(1000, 100'000);
  auto app = std::make_shared<AppWaiting>();
  EXPECT_FALSE(WaitingPlace::take(limits, app, limits::kWaitingBytesEach + 1));
  auto one = WaitingPlace::take(limits, app, 60'000);
  EXPECT_TRUE(one);
  EXPECT_FALSE(WaitingPlace::take(limits, app, 60'000));
  EXPECT_EQ(limits.waiting_bytes(), 60'000U);
}

TEST(WakeGate, TenThousandWaitersDrainThroughTheSlowStart) {
  WaitingLimits limits(15'600);
  FakeApp app;
  Worker worker(limits);
  auto view = app.asleep(1);
  for (int i = 0; i < 10'000; ++i) {
    ASSERT_EQ(worker.gate.arrive(worker.node(), view, arriving(app)).kind, Arrival::Kind::Queued);
  }
  EXPECT_EQ(limits.waiting(), 10'000U);
  view = app.ready(1);
  worker.gate.adopt(view, kNow);
  std::list<Lease> leases;
  std::size_t served = 0;
  std::size_t most = 0;
  while (served < 10'000) {
    for (auto& node : worker.nodes) {
      if (node.state() != WaitNode::State::Granted) continue;
      leases.push_back(
          Lease::try_take(*app.load, app.generation, app.load->in_flight_limit({}), &worker.gate));
      ASSERT_TRUE(leases.back());
      node.leave();
    }
    most = std::max(most, leases.size());
    ASSERT_FALSE(leases.empty()) << served;
    while (!leases.empty()) {
      app.load->response_seen();
      leases.pop_front();
      ++served;
    }
  }
  EXPECT_EQ(most, limits::kUpstreamConnections);
  EXPECT_EQ(limits.waiting(), 0U);
  EXPECT_FALSE(app.load->has_waiters());
}

}  // namespace
}  // namespace rooster::machines
