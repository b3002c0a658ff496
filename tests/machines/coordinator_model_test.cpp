// A randomised model: a coordinator, two gates and a driver that starts, fails, crashes and stops
// machines at random. Held at each step: never two starts of one app in flight, never a signal to a
// machine with exchanges in flight (idle stops), and in the end every waiter has been resolved.
#include "machines/wake_gate.hpp"
#include "tests/machines/coordinator_fixture.hpp"

#include <deque>
#include <list>
#include <random>

namespace rooster::machines {
namespace {

class Model {
 public:
  explicit Model(std::uint32_t seed) : random_(seed) {
    CoordinatorOptions options{.region = "gru", .can_suspend = true};
    options.boot_ms = [this] { return boot_milliseconds() + offset_ms_; };
    options.free_port = [this] { return ++next_port_; };
    coordinator_.emplace(std::move(options));
    for (std::uint8_t i = 0; i < 2; ++i) {
      gates_.push_back(std::make_unique<WakeGate>(
          WorkerId{i}, limits_,
          GateSignals{
              .wake = [this](WakeCommand command) { commands_.push_back(std::move(command)); },
              .slot_free = [this](WorkerId to, AppId app) { slots_.emplace_back(to, app); }}));
    }
    for (std::uint32_t app = 1; app <= 3; ++app) configure(AppId{app}, 0);
  }
  ~Model() { waiters_.clear(); }

  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      step(roll(100));
      deliver();
    }
    is_calm_ = true;
    for (std::uint32_t app = 1; app <= 3; ++app) {
      for (const MachineView& machine : coordinator_->view(AppId{app})->machines) {
        EXPECT_TRUE(coordinator_->cordon(machine.id, false, now_, out_));
      }
    }
    for (int i = 0; i < 4000 && !waiters_.empty(); ++i) {
      pass(i % 10 == 0 ? 1000ms : 10ms);
      for (const auto& [machine, kind] : std::map(pending_)) answer(machine, kind);
      deliver();
    }
    EXPECT_TRUE(waiters_.empty()) << waiters_.size() << " waiters were never resolved";
    EXPECT_EQ(limits_.waiting(), 0U);
    EXPECT_GT(served_, 20);
  }

 private:
  enum class Kind : std::uint8_t { Start, Running, Suspend, Suspended, Resume, Signalled };
  struct WaiterOf {
    WaiterOf(std::size_t gate_, AppId app_, AppViewPtr view_)
        : gate(gate_), app(app_), view(std::move(view_)), node([] {}) {}
    std::size_t gate;
    AppId app;
    AppViewPtr view;
    Lease lease;
    WaitNode node;
    int tries = 0;
  };

  int roll(int below) { return std::uniform_int_distribution<int>(0, below - 1)(random_); }

  void configure(AppId app, int version) {
    auto config = make_config("app" + std::to_string(app.value));
    config.rooster.machines = {{"gru", app.value == 1 ? 1U : 3U}};
    config.rooster.idle_timeout = 2s;
    config.rooster.wake_timeout = 5s;
    config.services[0].internal_port = static_cast<std::uint16_t>(8000 + app.value);
    config.services[0].concurrency = {.soft_limit = 2, .hard_limit = app.value == 2 ? 3U : 0U};
    config.services[0].autostop =
        app.value == 3 ? config::Autostop::Suspend : config::Autostop::Stop;
    config.processes[0].command = {"app", "{port}", std::to_string(version)};
    coordinator_->configure(app, std::make_shared<config::AppConfig>(config), now_, out_);
  }

  Arriving arriving(const AppViewPtr& view) const {
    return {.service = view->config->services.data(),
            .attempt = {.method = "GET", .path = "/"},
            .now = now_,
            .deadline = now_ + 1h,
            .bytes = 10};
  }

  void pass(Duration time) {
    now_ += time;
    offset_ms_ += std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
    coordinator_->tick(now_, out_);
  }

  void step(int what) {
    if (what < 40) return arrive(AppId{static_cast<std::uint32_t>(1 + roll(3))});
    if (what < 55) return finish_some();
    if (what < 70) return pass(std::chrono::milliseconds(1 + roll(400)));
    if (what < 74) return pass(3s);
    if (what < 92) return answer_one();
    if (what < 95) return crash_one();
    if (what < 97) return configure(AppId{static_cast<std::uint32_t>(2 + roll(2))}, ++version_);
    if (what < 98) return order_one();
    if (!waiters_.empty())
      waiters_.erase(std::next(waiters_.begin(), roll(static_cast<int>(waiters_.size()))));
  }

  void order_one() {
    const auto view = coordinator_->view(AppId{static_cast<std::uint32_t>(1 + roll(3))});
    const MachineId id =
        view->machines[static_cast<std::size_t>(roll(static_cast<int>(view->machines.size())))].id;
    // An operator may start a second one beside a starting one; here that would blur the count.
    const bool is_starting =
        std::ranges::any_of(view->machines, [this](const MachineView& machine) {
          return coordinator_->find(machine.id)->state == MachineState::Starting;
        });
    if (roll(3) != 0 && !is_starting) {
      EXPECT_TRUE(coordinator_->start(id, now_, out_));
    } else {
      EXPECT_TRUE(coordinator_->cordon(id, roll(2) == 0, now_, out_));
    }
  }

  void arrive(AppId app) {
    const std::size_t gate = static_cast<std::size_t>(roll(2));
    AppViewPtr view = adopted_[gate][app];
    if (!view) return;
    WaiterOf& waiter = waiters_.emplace_back(gate, app, view);
    act(waiter, gates_[gate]->arrive(waiter.node, view, arriving(view)));
  }

  // A waiter's coroutine after its arrival or resumption.
  void act(WaiterOf& waiter, const Arrival& arrival) {
    if (arrival.kind == Arrival::Kind::Queued) return;
    if (arrival.kind == Arrival::Kind::Refused) return drop(waiter);
    pick(waiter);
  }
  void pick(WaiterOf& waiter) {
    waiter.view = adopted_[waiter.gate][waiter.app];
    const config::Service& service = waiter.view->config->services[0];
    for (const MachineView& machine : waiter.view->machines) {
      if (!machine.routable) continue;
      waiter.lease = Lease::try_take(*machine.load, machine.load_generation,
                                     lease_limit(machine, service), gates_[waiter.gate].get());
      if (!waiter.lease) continue;
      waiter.node.leave();
      return;
    }
    ASSERT_LT(++waiter.tries, 100'000);
    act(waiter,
        gates_[waiter.gate]->wait_for_slot(waiter.node, waiter.view, arriving(waiter.view)));
  }
  void drop(WaiterOf& waiter) {
    waiters_.remove_if([&](const WaiterOf& other) { return &other == &waiter; });
  }

  void finish_some() {
    for (auto waiter = waiters_.begin(); waiter != waiters_.end();) {
      const bool ends = waiter->lease && (is_calm_ || roll(3) == 0);
      if (!ends) {
        ++waiter;
        continue;
      }
      ++served_;
      waiter->lease.load().response_seen();
      waiter = waiters_.erase(waiter);
    }
  }

  void answer_one() {
    if (pending_.empty()) return;
    auto chosen = std::next(pending_.begin(), roll(static_cast<int>(pending_.size())));
    answer(chosen->first, chosen->second);
  }
  // By value: the entry it comes from may go.
  void answer(MachineId machine, Kind kind) {
    switch (kind) {
      case Kind::Start:
        if (!is_calm_ && roll(6) == 0) {
          pending_.erase(machine);
          return coordinator_->start_failed(machine, Fault::ExecFailed, "no", now_, out_);
        }
        pending_[machine] = Kind::Running;
        coordinator_->started(machine, 1, now_, out_);
        if (!is_calm_ && roll(4) == 0) return;  // it may never listen
        return coordinator_->listening(machine, now_, out_);
      case Kind::Running:
        return coordinator_->listening(machine, now_, out_);
      case Kind::Suspend: {
        const bool done = roll(3) != 0;
        pending_[machine] = done ? Kind::Suspended : Kind::Running;
        return coordinator_->suspended(machine, done, now_, out_);
      }
      case Kind::Resume:
        pending_[machine] = Kind::Running;
        return coordinator_->resumed(machine, roll(4) != 0, now_, out_);
      case Kind::Suspended:
        return;
      case Kind::Signalled:
        pending_.erase(machine);
        return coordinator_->exited(machine, {}, "", now_, out_);
    }
  }
  void crash_one() {
    if (pending_.empty()) return;
    auto chosen = std::next(pending_.begin(), roll(static_cast<int>(pending_.size())));
    if (chosen->second != Kind::Running) return;
    const MachineId machine = chosen->first;
    pending_.erase(chosen);
    const MachineLoad* load = coordinator_->find(machine)->load.get();
    waiters_.remove_if([&](const WaiterOf& w) { return w.lease && &w.lease.load() == load; });
    coordinator_->exited(machine, {.code = roll(2)}, "", now_, out_);
  }

  // All that is under way between the threads, in any order between kinds but never lost.
  void deliver() {
    for (int rounds = 0; rounds < 1000; ++rounds) {
      if (is_calm_) finish_some();
      if (out_.facts.empty() && out_.commands.empty() && commands_.empty() && slots_.empty()) {
        if (!resume_waiters()) return;
        continue;
      }
      Output out = std::move(out_);
      out_ = {};
      for (const DriverCommand& command : out.commands) obey(command);
      for (const AppViewPtr& fact : out.facts) {
        for (std::size_t gate = 0; gate < 2; ++gate) {
          adopted_[gate][fact->id] = fact;
          gates_[gate]->adopt(fact, now_);
        }
      }
      coordinator_->epoch_adopted(coordinator_->epoch(), now_, out_);
      for (const WakeCommand& command : std::exchange(commands_, {}))
        coordinator_->wake(command, now_, out_);
      for (const auto& [worker, app] : std::exchange(slots_, {}))
        gates_[worker.value]->slot_free(app);
      resume_waiters();
      check();
    }
    FAIL() << "no rest is found";
  }
  bool resume_waiters() {
    bool any = false;
    for (auto next = waiters_.begin(); next != waiters_.end();) {
      WaiterOf& waiter = *next++;
      if (waiter.node.state() == WaitNode::State::Failed) {
        any = true;
        drop(waiter);
      } else if (waiter.node.state() == WaitNode::State::Granted) {
        any = true;
        pick(waiter);
      }
    }
    return any;
  }

  void obey(const DriverCommand& command) {
    if (const auto* start = std::get_if<StartMachine>(&command)) {
      EXPECT_FALSE(pending_.contains(start->spec.machine)) << "started while it lives";
      pending_[start->spec.machine] = Kind::Start;
    } else if (const auto* resume = std::get_if<ResumeMachine>(&command)) {
      EXPECT_EQ(pending_.at(resume->machine), Kind::Suspended);
      pending_[resume->machine] = Kind::Resume;
    } else if (const auto* suspend = std::get_if<SuspendMachine>(&command)) {
      expect_free(suspend->machine);
      pending_[suspend->machine] = Kind::Suspend;
    } else if (const auto* signal = std::get_if<SignalMachine>(&command)) {
      expect_free(signal->machine);
      if (pending_.contains(signal->machine)) pending_[signal->machine] = Kind::Signalled;
    } else if (const auto* kill = std::get_if<KillMachine>(&command)) {
      if (pending_.contains(kill->machine)) pending_[kill->machine] = Kind::Signalled;
    }
  }
  void expect_free(const MachineId& id) {
    const Machine& machine = *coordinator_->find(id);
    EXPECT_EQ(machine.load->in_flight(), 0U) << id.value;
    EXPECT_FALSE(Lease::try_take(*machine.load, machine.load_generation, UINT32_MAX, nullptr));
  }
  void check() {
    for (std::uint32_t app = 1; app <= 3; ++app) {
      int starting = 0;
      for (const MachineView& view : coordinator_->view(AppId{app})->machines) {
        if (coordinator_->find(view.id)->state == MachineState::Starting) ++starting;
      }
      EXPECT_LE(starting, 1) << "app " << app;
    }
  }

  std::mt19937 random_;
  TimePoint now_{10'000s};
  std::int64_t offset_ms_ = 0;
  std::uint16_t next_port_ = 20'000;
  int version_ = 0;
  int served_ = 0;
  bool is_calm_ = false;
  WaitingLimits limits_{1000};
  std::optional<Coordinator> coordinator_;
  Output out_;
  std::vector<WakeCommand> commands_;
  std::vector<std::pair<WorkerId, AppId>> slots_;
  std::map<AppId, AppViewPtr> adopted_[2];
  std::vector<std::unique_ptr<WakeGate>> gates_;
  std::map<MachineId, Kind> pending_;
  std::list<WaiterOf> waiters_;
};

TEST(CoordinatorModel, HoldsItsPromisesUnderRandomEvents) {
  for (std::uint32_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Model model(seed);
    model.run(400);
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace rooster::machines
