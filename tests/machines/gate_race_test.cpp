// Gates on threads of their own share one machine through its load word and slot_free messages: no
// wake-up is lost, no slot is given twice. Run under ThreadSanitizer too.
#include "machines/wake_gate.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <list>
#include <mutex>
#include <thread>
#include <vector>

namespace rooster::machines {
namespace {

using namespace std::chrono_literals;
constexpr AppId kApp{3};
constexpr std::uint32_t kHardLimit = 3;
constexpr int kEach = 3000;

struct Mailbox {
  void post(AppId app) {
    std::scoped_lock lock(mutex);
    slots.push_back(app);
  }
  std::deque<AppId> take() {
    std::scoped_lock lock(mutex);
    return std::exchange(slots, {});
  }
  std::mutex mutex;
  std::deque<AppId> slots;
};

class RacingWorker {
 public:
  RacingWorker(std::uint8_t id, WaitingLimits& limits, std::vector<Mailbox>& mailboxes,
               AppViewPtr view, std::atomic<std::uint32_t>& held)
      : mailbox_(mailboxes[id]),
        view_(std::move(view)),
        held_(held),
        gate_(WorkerId{id}, limits,
              {.wake = [](WakeCommand) {},
               .slot_free = [&mailboxes](WorkerId to,
                                         AppId app) { mailboxes[to.value].post(app); }}) {}

  /// Returns how many were served before `cap`.
  int run(TimePoint cap) {
    int served = 0;
    int arrived = 0;
    while (served < kEach && Clock::now() < cap) {
      for (AppId app : mailbox_.take()) gate_.slot_free(app);
      for (int i = 0; i < 8 && arrived < kEach; ++i, ++arrived) arrive();
      for (auto& waiter : waiters_) {
        if (waiter.node.state() == WaitNode::State::Granted) pick(waiter);
      }
      std::this_thread::yield();
      for (auto waiter = waiters_.begin(); waiter != waiters_.end();) {
        if (!waiter->lease) {
          ++waiter;
          continue;
        }
        held_.fetch_sub(1);
        ++served;
        waiter = waiters_.erase(waiter);
      }
    }
    waiters_.clear();
    return served;
  }
  bool was_overrun() const { return was_overrun_; }

 private:
  struct Waiting {
    Lease lease;
    WaitNode node{[] {}};
  };
  Arriving who() const { return {.service = view_->config->services.data()}; }
  void arrive() {
    Waiting& waiter = waiters_.emplace_back();
    if (gate_.arrive(waiter.node, view_, who()).kind == Arrival::Kind::Pass) pick(waiter);
  }
  void pick(Waiting& waiter) {
    for (;;) {
      const MachineView& machine = view_->machines[0];
      waiter.lease = Lease::try_take(*machine.load, machine.load_generation, kHardLimit, &gate_);
      if (waiter.lease) {
        was_overrun_ = was_overrun_ || held_.fetch_add(1) + 1 > kHardLimit;
        return waiter.node.leave();
      }
      if (gate_.wait_for_slot(waiter.node, view_, who()).kind != Arrival::Kind::Pass) return;
    }
  }

  Mailbox& mailbox_;
  const AppViewPtr view_;
  std::atomic<std::uint32_t>& held_;
  bool was_overrun_ = false;
  WakeGate gate_;
  std::list<Waiting> waiters_;
};

TEST(WakeGateRace, NoWakeUpIsLostBetweenWorkers) {
  auto config = std::make_shared<config::AppConfig>();
  config->services.resize(1);
  config->services[0].concurrency.hard_limit = kHardLimit;
  auto load = std::make_shared<MachineLoad>(kApp);
  auto view = std::make_shared<AppView>();
  view->id = kApp;
  view->config = config;
  view->waiting = std::make_shared<AppWaiting>();
  view->wakes.push_back({.phase = WakePhase::Ready});
  view->machines.push_back(
      {.load = load, .load_generation = load->reopen(0), .routable = true, .awake = true});

  WaitingLimits limits(100'000);
  std::vector<Mailbox> mailboxes(4);
  std::atomic<std::uint32_t> held{0};
  std::list<RacingWorker> workers;
  for (std::uint8_t i = 0; i < 4; ++i) workers.emplace_back(i, limits, mailboxes, view, held);
  const TimePoint cap = Clock::now() + 30s;  // only a lost wake-up comes near it
  std::vector<int> served(4);
  std::vector<std::thread> threads;
  std::size_t index = 0;
  for (RacingWorker& worker : workers) {
    threads.emplace_back([&worker, &count = served[index++], cap] { count = worker.run(cap); });
  }
  for (auto& thread : threads) thread.join();
  for (int count : served) EXPECT_EQ(count, kEach);
  for (const RacingWorker& worker : workers) EXPECT_FALSE(worker.was_overrun());
  EXPECT_EQ(load->in_flight(), 0U);
  EXPECT_FALSE(load->has_waiters());
  EXPECT_EQ(limits.waiting(), 0U);
}

}  // namespace
}  // namespace rooster::machines
