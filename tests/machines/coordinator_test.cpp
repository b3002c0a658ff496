#include "machines/coordinator.hpp"

#include "machines/machine_id.hpp"
#include "tests/machines/coordinator_fixture.hpp"

namespace rooster::machines {
namespace {

TEST(MachineId, IsStableAndDistinct) {
  const MachineId id = make_machine_id("hello", "app", "gru", "0");
  EXPECT_EQ(id.value.size(), 14U);
  EXPECT_EQ(id.value.find_first_not_of("0123456789abcdef"), std::string::npos);
  EXPECT_EQ(id, make_machine_id("hello", "app", "gru", "0"));
  EXPECT_NE(id, make_machine_id("hello", "app", "gru", "1"));
  EXPECT_NE(make_machine_id("a", "bc", "", ""), make_machine_id("ab", "c", "", ""));
}

TEST_F(CoordinatorTest, ManyWakesCauseOneStart) {
  configure(make_config());
  EXPECT_EQ(wake_state().phase, WakePhase::Asleep);
  for (int i = 0; i < 5; ++i) wake();
  auto starts = take<StartMachine>();
  ASSERT_EQ(starts.size(), 1U);
  EXPECT_EQ(wake_state().phase, WakePhase::Waking);
  wake();
  become_ready(starts[0].spec.machine);
  wake();
  EXPECT_TRUE(take<StartMachine>().empty());
  EXPECT_EQ(wake_state().phase, WakePhase::Ready);
  EXPECT_TRUE(machine().routable);
  EXPECT_TRUE(lease());
  EXPECT_TRUE(has_line("Starting machine"));
  EXPECT_TRUE(has_line("machine became reachable in"));
  EXPECT_EQ(coordinator_->counters().starts, 1U);
  EXPECT_EQ(coordinator_->ledger().latest(1)[0].kind, LedgerEntry::Kind::Ready);
}

TEST_F(CoordinatorTest, IdleMachineStopsInOrder) {
  configure(make_config());
  wake_until_ready();
  {
    Lease held = lease();
    pass(600s);
    EXPECT_EQ(state(), MachineState::Ready) << "in flight";
  }
  offset_ms_ = 0;  // the drop stored the real clock
  out_.clear();
  pass(299s);
  EXPECT_EQ(state(), MachineState::Ready);
  now_ += 1s;
  offset_ms_ += 1100;
  coordinator_->tick(now_, out_);
  EXPECT_EQ(state(), MachineState::Draining);
  EXPECT_FALSE(lease());
  EXPECT_TRUE(take<SignalMachine>().empty()) << "workers have not adopted it yet";
  EXPECT_TRUE(has_line("App hello has excess capacity, autostopping machine"));
  adopt();
  auto signals = take<SignalMachine>();
  ASSERT_EQ(signals.size(), 1U);
  EXPECT_EQ(signals[0].signal, 2);
  EXPECT_EQ(wake_state().phase, WakePhase::Stopping);
  pass(5s);
  EXPECT_EQ(take<KillMachine>().size(), 1U) << "kill_timeout";
  coordinator_->exited(id(), {.signal = 9}, "", now_, out_);
  EXPECT_EQ(wake_state().phase, WakePhase::Asleep);
  EXPECT_EQ(coordinator_->awake(), 0U);
  EXPECT_EQ(coordinator_->next_tick(now_), kNever);
}

TEST_F(CoordinatorTest, WakeTakesAnIdleStopBackBeforeTheSignal) {
  configure(make_config());
  wake_until_ready();
  offset_ms_ += 400'000;
  now_ += 1s;
  coordinator_->tick(now_, out_);
  ASSERT_EQ(state(), MachineState::Draining);
  wake();
  EXPECT_EQ(state(), MachineState::Ready);
  pass(1s);
  EXPECT_EQ(state(), MachineState::Ready) << "its idleness counts anew";
  EXPECT_TRUE(take<SignalMachine>().empty());
}

TEST_F(CoordinatorTest, WakeWhileStoppingStartsAgainAfterTheExit) {
  configure(make_config());
  wake_until_ready();
  pass(301s);
  ASSERT_EQ(state(), MachineState::Stopping);
  EXPECT_EQ(wake_state().stop_ends_at, now_ + 5s);
  wake();
  EXPECT_TRUE(take<StartMachine>().empty());
  coordinator_->exited(id(), {}, "", now_, out_);
  EXPECT_EQ(take<StartMachine>().size(), 1U);
  EXPECT_EQ(wake_state().phase, WakePhase::Waking);
}

TEST_F(CoordinatorTest, WakeWhileStoppingStartsAnotherMachineIfThereIsOne) {
  auto config = make_config();
  config.rooster.machines = {{"gru", 2}};
  config.processes[0].command = {"/bin/app", "{port}"};
  make({.free_port = [] { return std::uint16_t{23456}; }});
  configure(config);
  wake_until_ready();
  pass(301s);
  wake();
  auto starts = take<StartMachine>();
  ASSERT_EQ(starts.size(), 1U);
  EXPECT_EQ(starts[0].spec.argv.back(), "23456") << "the other still holds the port";
  EXPECT_EQ(wake_state().stop_ends_at, TimePoint{});
}

TEST_F(CoordinatorTest, AWakeByNameStartsThatMachineAlsoBesideAnother) {
  auto config = make_config();
  config.rooster.machines = {{"gru", 2}};
  config.processes[0].command = {"/bin/app", "{port}"};
  make({.free_port = [] { return std::uint16_t{23456}; }});
  configure(config);
  const MachineId first = id(0);
  const MachineId second = id(1);
  const auto wake_by_name = [this](const MachineId& machine) {
    coordinator_->wake({.app = kApp,
                        .group = "app",
                        .generation = wake_state().generation,
                        .reason = "tcp",
                        .machine = machine.value},
                       now_, out_);
    return take<StartMachine>();
  };
  auto starts = wake_by_name(second);
  ASSERT_EQ(starts.size(), 1U);
  EXPECT_EQ(starts[0].spec.machine, second);
  EXPECT_TRUE(wake_by_name(second).empty()) << "it is on its way";
  become_ready(second);
  EXPECT_TRUE(wake_by_name(second).empty());
  starts = wake_by_name(first);
  ASSERT_EQ(starts.size(), 1U);
  EXPECT_EQ(starts[0].spec.machine, first);
  EXPECT_EQ(wake_state().phase, WakePhase::Ready);
}

TEST_F(CoordinatorTest, SecondMachineOnTheSamePortNeedsToBeTold) {
  auto config = make_config();
  configure(config);
  wake_until_ready();
  auto other = make_config("other");
  configure(other, AppId{2});
  coordinator_->wake({.app = AppId{2}, .group = "app"}, now_, out_);
  EXPECT_TRUE(take<StartMachine>().empty());
  EXPECT_EQ(view(AppId{2}).wakes[0].fault, Fault::PortTaken);
  EXPECT_TRUE(has_line("of app hello; write $PORT or {port} in the command"));
}

TEST_F(CoordinatorTest, ThreeExitsBeforeReadyFailTheWake) {
  configure(make_config());
  wake();
  for (int i = 0; i < 3; ++i) {
    auto starts = take<StartMachine>();
    ASSERT_EQ(starts.size(), 1U) << i;
    coordinator_->started(id(), 100, now_, out_);
    coordinator_->exited(id(), {.code = 1}, "boom", now_, out_);
  }
  EXPECT_TRUE(take<StartMachine>().empty());
  EXPECT_EQ(wake_state().phase, WakePhase::Failed);
  EXPECT_EQ(wake_state().fault, Fault::ExitedBeforeReady);
  EXPECT_EQ(wake_state().retry_at, now_ + 1s);
  EXPECT_TRUE(has_line("its last output: boom"));
}

TEST_F(CoordinatorTest, BackoffDoublesAndTenFailuresAreEnough) {
  configure(make_config());
  Duration expected = 1s;
  for (int wakes = 0; wakes < 10; ++wakes) {
    wake();
    ASSERT_EQ(take<StartMachine>().size(), 1U);
    coordinator_->start_failed(id(), Fault::ExecFailed, "no such file", now_, out_);
    ASSERT_EQ(wake_state().phase, WakePhase::Failed);
    if (wake_state().retry_at == kNever) break;
    EXPECT_EQ(wake_state().retry_at, now_ + expected);
    expected = std::min<Duration>(expected * 2, 60s);
    const std::uint64_t generation = wake_state().generation;
    wake();  // too early: begins by itself when the backoff is over
    EXPECT_TRUE(take<StartMachine>().empty());
    EXPECT_EQ(wake_state().generation, generation);
    pass(wake_state().retry_at - now_);
    ASSERT_EQ(take<StartMachine>().size(), 1U);
    coordinator_->start_failed(id(), Fault::ExecFailed, "no such file", now_, out_);
    if (wake_state().retry_at == kNever) break;
    expected = std::min<Duration>(expected * 2, 60s);
    pass(wake_state().retry_at - now_);
  }
  EXPECT_EQ(wake_state().retry_at, kNever);
  EXPECT_EQ(coordinator_->counters().starts, 10U);
  wake();
  EXPECT_TRUE(take<StartMachine>().empty());
  EXPECT_TRUE(coordinator_->start(id(), now_, out_));
  EXPECT_EQ(take<StartMachine>().size(), 1U);
}

TEST_F(CoordinatorTest, WakeTimeoutCarriesTheDiagnosis) {
  configure(make_config());
  wake();
  coordinator_->started(id(), 100, now_, out_);
  coordinator_->diagnosed(id(), Fault::ListensElsewhere, "it listens on 127.0.0.1:3000");
  EXPECT_EQ(coordinator_->next_tick(now_), now_ + 60s);
  pass(60s);
  EXPECT_EQ(wake_state().fault, Fault::ListensElsewhere);
  EXPECT_EQ(wake_state().detail, "it listens on 127.0.0.1:3000");
  EXPECT_EQ(take<SignalMachine>().size(), 1U);
}

TEST_F(CoordinatorTest, ServiceChecksGateReadinessAndLaterOnlyDeprioritise) {
  auto config = make_config();
  config.services[0].checks.resize(2);
  configure(config);
  wake();
  coordinator_->started(id(), 100, now_, out_);
  coordinator_->listening(id(), now_, out_);
  coordinator_->checked(id(), 0, true, "200", now_, out_);
  EXPECT_EQ(wake_state().phase, WakePhase::Waking);
  coordinator_->checked(id(), 1, true, "200", now_, out_);
  EXPECT_EQ(wake_state().phase, WakePhase::Ready);
  coordinator_->checked(id(), 1, false, "500", now_, out_);
  EXPECT_TRUE(machine().routable);
  EXPECT_FALSE(machine().checks_passing);
}

TEST_F(CoordinatorTest, NotifySocketGatesReadiness) {
  auto config = make_config();
  config.rooster.notify = true;
  configure(config);
  wake();
  EXPECT_TRUE(take<StartMachine>().at(0).spec.wants_notify);
  coordinator_->started(id(), 100, now_, out_);
  coordinator_->listening(id(), now_, out_);
  EXPECT_EQ(wake_state().phase, WakePhase::Waking);
  coordinator_->notified(id(), now_, out_);
  EXPECT_EQ(wake_state().phase, WakePhase::Ready);
}

TEST_F(CoordinatorTest, MinimumIsStartedAndKeptInThePrimaryRegion) {
  auto config = make_config();
  config.services[0].min_machines_running = 1;
  config.rooster.machines = {{"gru", 1}, {"iad", 1}};
  configure(config);
  auto starts = take<StartMachine>();
  ASSERT_EQ(starts.size(), 1U);
  EXPECT_EQ(coordinator_->find(starts[0].spec.machine)->region, "gru");
  become_ready(starts[0].spec.machine);
  pass(1000s);
  EXPECT_TRUE(take<SignalMachine>().empty());
  coordinator_->exited(starts[0].spec.machine, {.code = 3}, "", now_, out_);
  EXPECT_EQ(take<StartMachine>().size(), 1U) << "it had run for long: at once";
}

TEST_F(CoordinatorTest, CrashSoonAfterReadyBacksOffForTheMinimumOnly) {
  auto config = make_config();
  config.services[0].min_machines_running = 1;
  configure(config);
  become_ready(take<StartMachine>().at(0).spec.machine);
  coordinator_->exited(id(), {.code = 3}, "", now_, out_);
  EXPECT_TRUE(take<StartMachine>().empty());
  EXPECT_EQ(wake_state().phase, WakePhase::Asleep);
  EXPECT_EQ(coordinator_->next_tick(now_), now_ + 1s);
  pass(1s);
  EXPECT_EQ(take<StartMachine>().size(), 1U);
}

TEST_F(CoordinatorTest, ExitZeroStaysStoppedUntilARequest) {
  auto config = make_config();
  config.services[0].min_machines_running = 1;
  configure(config);
  become_ready(take<StartMachine>().at(0).spec.machine);
  coordinator_->exited(id(), {.code = 0}, "", now_, out_);
  pass(100s);
  EXPECT_TRUE(take<StartMachine>().empty());
  wake();
  EXPECT_EQ(take<StartMachine>().size(), 1U);
}

TEST_F(CoordinatorTest, SoftLimitStartsOneMoreAfterTheBurst) {
  auto config = make_config();
  config.services[0].concurrency.soft_limit = 2;
  config.rooster.machines = {{"gru", 3}};
  config.processes[0].command = {"app", "$PORT"};
  make({.free_port = [port = std::uint16_t{20000}]() mutable { return port++; }});
  configure(config);
  wake_until_ready();
  const std::size_t index = machine(0).routable ? 0 : (machine(1).routable ? 1 : 2);
  machine(index).load->add_waiter(WorkerId{0});
  Lease one = lease(index);
  Lease two = lease(index);
  ASSERT_TRUE(one && two);
  pass(1s);
  EXPECT_TRUE(take<StartMachine>().empty()) << "those waited before it was ready";
  machine(index).load->remove_waiter(WorkerId{0});
  pass(1s);
  auto starts = take<StartMachine>();
  ASSERT_EQ(starts.size(), 1U);
  pass(1s);
  EXPECT_TRUE(take<StartMachine>().empty()) << "one at a time";
  become_ready(starts[0].spec.machine);
  pass(1s);
  EXPECT_TRUE(take<StartMachine>().empty()) << "the new one has room";
}

TEST_F(CoordinatorTest, SuspendFreezesAndAWakeThaws) {
  auto config = make_config();
  config.services[0].autostop = config::Autostop::Suspend;
  make({.can_suspend = true});
  configure(config);
  wake_until_ready();
  pass(301s);
  ASSERT_EQ(take<SuspendMachine>().size(), 1U);
  coordinator_->suspended(id(), true, now_, out_);
  EXPECT_EQ(wake_state().phase, WakePhase::Asleep);
  EXPECT_FALSE(machine().awake);
  wake();
  ASSERT_EQ(take<ResumeMachine>().size(), 1U);
  EXPECT_TRUE(take<StartMachine>().empty());
  coordinator_->resumed(id(), true, now_, out_);
  coordinator_->listening(id(), now_, out_);
  EXPECT_EQ(wake_state().phase, WakePhase::Ready);
}

TEST_F(CoordinatorTest, SuspendThatFailsStopsInstead) {
  auto config = make_config();
  config.services[0].autostop = config::Autostop::Suspend;
  make({.can_suspend = true});
  configure(config);
  wake_until_ready();
  pass(301s);
  coordinator_->suspended(id(), false, now_, out_);
  EXPECT_EQ(take<SignalMachine>().size(), 1U);
  EXPECT_TRUE(has_line("could not be suspended: stopped instead"));
}

TEST_F(CoordinatorTest, FrozenMachineWithAnOldConfigIsStartedAnew) {
  auto config = make_config();
  config.services[0].autostop = config::Autostop::Suspend;
  make({.can_suspend = true});
  configure(config);
  wake_until_ready();
  pass(301s);
  coordinator_->suspended(id(), true, now_, out_);
  config.env = {{"NEW", "1"}};
  configure(config);
  wake();
  EXPECT_TRUE(take<ResumeMachine>().empty());
  ASSERT_EQ(take<KillMachine>().size(), 1U);
  coordinator_->exited(id(), {.signal = 9}, "", now_, out_);
  EXPECT_EQ(take<StartMachine>().size(), 1U);
}

TEST_F(CoordinatorTest, ChangedCommandReplacesTheMachineWhenIdle) {
  auto config = make_config();
  configure(config);
  wake_until_ready();
  config.processes[0].command = {"/bin/new"};
  {
    Lease held = lease();
    configure(config);
    pass(10s);
    EXPECT_EQ(state(), MachineState::Ready) << "busy";
  }
  pass(5s);
  ASSERT_EQ(state(), MachineState::Stopping);
  coordinator_->exited(id(), {}, "", now_, out_);
  wake();
  EXPECT_EQ(take<StartMachine>().at(0).spec.argv[0], "/bin/new");
}

TEST_F(CoordinatorTest, ChangedCommandWithSeveralMachinesStartsTheNewOneFirst) {
  auto config = make_config();
  config.rooster.machines = {{"gru", 2}};
  config.processes[0].command = {"app", "$PORT"};
  make({.free_port = [port = std::uint16_t{20000}]() mutable { return port++; }});
  configure(config);
  wake_until_ready();
  const std::size_t old_index = machine(0).routable ? 0 : 1;
  Lease held = lease(old_index);
  config.env = {{"NEW", "1"}};
  configure(config);
  pass(1s);
  auto starts = take<StartMachine>();
  ASSERT_EQ(starts.size(), 1U);
  EXPECT_EQ(state(old_index), MachineState::Ready);
  become_ready(starts[0].spec.machine);
  pass(1s);
  EXPECT_EQ(state(old_index), MachineState::Draining);
  EXPECT_EQ(take<GoAway>().size(), 1U);
  held.drop();
  pass(1s);
  EXPECT_EQ(state(old_index), MachineState::Stopping);
}

TEST_F(CoordinatorTest, RouteOnlyChangeTouchesNoMachine) {
  auto config = make_config();
  configure(config);
  wake_until_ready();
  config.rooster.hostnames = {"example.com"};
  configure(config);
  pass(10s);
  EXPECT_EQ(state(), MachineState::Ready);
  EXPECT_EQ(view().config->rooster.hostnames.size(), 1U);
}

TEST_F(CoordinatorTest, RemovedAppDrainsStopsAndIsForgotten) {
  configure(make_config());
  wake_until_ready();
  Lease held = lease();
  const MachineId machine_id = id();
  coordinator_->remove(kApp, now_, out_);
  EXPECT_TRUE(view().removed);
  adopt();
  EXPECT_TRUE(take<SignalMachine>().empty()) << "drains first";
  held.drop();
  pass(20ms);
  EXPECT_EQ(take<SignalMachine>().size(), 1U);
  coordinator_->exited(machine_id, {}, "", now_, out_);
  EXPECT_EQ(coordinator_->view(kApp), nullptr);
  EXPECT_TRUE(coordinator_->apps().empty());
}

TEST_F(CoordinatorTest, OperatorStopWaitsForItsExchangesButNotForever) {
  configure(make_config());
  wake_until_ready();
  Lease held = lease();
  ASSERT_TRUE(coordinator_->stop(id(), false, now_, out_));
  adopt();
  EXPECT_EQ(take<GoAway>().size(), 1U);
  pass(29s);
  EXPECT_TRUE(take<SignalMachine>().empty());
  pass(1s);
  EXPECT_EQ(take<SignalMachine>().size(), 1U);
}

TEST_F(CoordinatorTest, CordonedMachineIsNotRoutedButRuns) {
  configure(make_config());
  wake_until_ready();
  ASSERT_TRUE(coordinator_->cordon(id(), true, now_, out_));
  EXPECT_FALSE(machine().routable);
  wake();
  EXPECT_EQ(wake_state().fault, Fault::NoHealthyMachine);
  ASSERT_TRUE(coordinator_->cordon(id(), false, now_, out_));
  EXPECT_EQ(wake_state().phase, WakePhase::Ready);
}

TEST_F(CoordinatorTest, AddressAppIsAlwaysReadyAtALiteral) {
  auto config = make_config();
  config.rooster.driver = config::DriverKind::Address;
  config.rooster.address = "10.0.0.5";
  configure(config);
  EXPECT_EQ(wake_state().phase, WakePhase::Ready);
  EXPECT_EQ(machine().address.to_string(), "10.0.0.5");
  EXPECT_TRUE(lease());
  pass(1000s);
  EXPECT_EQ(wake_state().phase, WakePhase::Ready);
}

TEST_F(CoordinatorTest, AddressNameIsResolvedWhenFirstWantedAndLastGoodOnesStay) {
  auto config = make_config();
  config.rooster.driver = config::DriverKind::Address;
  config.rooster.address = "backend.example";
  configure(config);
  EXPECT_EQ(wake_state().phase, WakePhase::Asleep);
  wake();
  ASSERT_EQ(take<ResolveApp>().size(), 1U);
  EXPECT_EQ(wake_state().phase, WakePhase::Waking);
  const IpAddress one = *IpAddress::parse("10.0.0.1");
  const IpAddress two = *IpAddress::parse("10.0.0.2");
  coordinator_->resolved(kApp, {one, two}, now_, out_);
  EXPECT_EQ(view().machines.size(), 2U);
  coordinator_->resolved(kApp, {}, now_, out_);
  EXPECT_EQ(view().machines.size(), 2U);
  coordinator_->resolved(kApp, {two}, now_, out_);
  adopt();
  ASSERT_EQ(view().machines.size(), 1U);
  EXPECT_EQ(machine().address, two);
  EXPECT_TRUE(machine().routable);
}

TEST_F(CoordinatorTest, UnresolvedAddressFailsTheWake) {
  auto config = make_config();
  config.rooster.driver = config::DriverKind::Address;
  config.rooster.address = "nowhere.invalid";
  configure(config);
  wake();
  coordinator_->resolved(kApp, {}, now_, out_);
  EXPECT_EQ(wake_state().fault, Fault::UpstreamUnresolved);
}

TEST_F(CoordinatorTest, AppWithoutCommandIsNotWakeable) {
  auto config = make_config();
  config.rooster.driver = config::DriverKind::None;
  configure(config);
  EXPECT_EQ(wake_state().phase, WakePhase::Failed);
  EXPECT_EQ(wake_state().fault, Fault::NotWakeable);
  EXPECT_EQ(wake_state().retry_at, kNever);
}

TEST_F(CoordinatorTest, SuccessorAdoptsARunningMachine) {
  configure(make_config());
  wake();
  const StartSpec spec = take<StartMachine>().at(0).spec;
  make({});
  configure(make_config());
  EXPECT_TRUE(coordinator_->adopt(id(), spec.fingerprint, 77, false, now_, out_));
  EXPECT_EQ(wake_state().phase, WakePhase::Waking);
  coordinator_->listening(id(), now_, out_);
  EXPECT_EQ(wake_state().phase, WakePhase::Ready);
  EXPECT_TRUE(take<StartMachine>().empty());
  EXPECT_EQ(machine().ports.at(8080), 8080);
  EXPECT_FALSE(coordinator_->adopt(MachineId{"ffffffffffffff"}, "x", 78, false, now_, out_));
}

TEST_F(CoordinatorTest, SuccessorStartsNothingBeforeItHasAdopted) {
  auto config = make_config();
  config.services[0].min_machines_running = 1;
  config.rooster.machines = {{"gru", 1}};
  configure(config);
  const StartSpec spec = take<StartMachine>().at(0).spec;
  make({.awaits_adoption = true});
  configure(config);
  wake();
  EXPECT_TRUE(take<StartMachine>().empty());
  EXPECT_TRUE(coordinator_->adopt(id(), spec.fingerprint, 77, false, now_, out_));
  coordinator_->adoption_done(now_, out_);
  EXPECT_TRUE(take<StartMachine>().empty()) << "it runs already";
  make({.awaits_adoption = true});
  configure(config);
  coordinator_->adoption_done(now_, out_);
  EXPECT_EQ(take<StartMachine>().size(), 1U);
}

TEST_F(CoordinatorTest, TakenPortNeverMakesAnAppHopeless) {
  configure(make_config());
  wake_until_ready();
  configure(make_config("other"), AppId{2});
  for (int i = 0; i < 20; ++i) {
    coordinator_->wake({.app = AppId{2}, .group = "app"}, now_, out_);
    EXPECT_EQ(view(AppId{2}).wakes[0].retry_at, now_ + 1s);
    now_ += 1s;
  }
  coordinator_->exited(id(), {}, "", now_, out_);
  coordinator_->wake({.app = AppId{2}, .group = "app"}, now_, out_);
  EXPECT_EQ(take<StartMachine>().size(), 1U);
}

TEST_F(CoordinatorTest, MinimumAsksForATakenPortEverMoreRarely) {
  configure(make_config());
  wake_until_ready();
  auto other = make_config("other");
  other.services[0].min_machines_running = 1;
  configure(other, AppId{2});
  out_.clear();
  for (int i = 0; i < 100; ++i) pass(1s);
  EXPECT_LT(std::ranges::count_if(
                out_.lines, [](const auto& line) { return line.message.starts_with("[PM07]"); }),
            10);
}

TEST_F(CoordinatorTest, ShutdownStopsAllAndStartsNothing) {
  configure(make_config());
  wake_until_ready();
  coordinator_->stop_all(now_, out_);
  adopt();
  EXPECT_EQ(take<SignalMachine>().size(), 1U);
  coordinator_->exited(id(), {}, "", now_, out_);
  wake();
  EXPECT_TRUE(take<StartMachine>().empty());
  EXPECT_EQ(coordinator_->awake(), 0U);
}

TEST_F(CoordinatorTest, AnAddressThatIsAListenerOfOursIsNeverUsed) {
  make({.is_own_listener = [](const Endpoint& to) { return to.port == 443; }});
  config::AppConfig config = make_config();
  config.processes[0].command.clear();
  config.rooster.driver = config::DriverKind::Address;
  config.rooster.address = "127.0.0.1";
  config.services[0].internal_port = 443;
  configure(config);
  EXPECT_TRUE(view().machines.empty());
  EXPECT_EQ(wake_state().fault, Fault::NoHealthyMachine);
  EXPECT_NE(wake_state().detail.find("127.0.0.1:443 is a listener of this node"),
            std::string::npos);
  config.services[0].internal_port = 8443;
  configure(config);
  EXPECT_EQ(view().machines.size(), 1u);
  EXPECT_EQ(wake_state().fault, Fault::None);
}

TEST_F(CoordinatorTest, AHelloWakesASleepingAppOnceAndItsWasteIsCounted) {
  configure(make_config());
  const auto hello = [this] {
    coordinator_->wake({.app = kApp,
                        .group = "app",
                        .generation = wake_state().generation,
                        .asked_at = now_,
                        .source = "192.0.2.1",
                        .reason = "sni",
                        .hello_from = IpAddress::parse("192.0.2.1")},
                       now_, out_);
  };
  hello();
  EXPECT_EQ(state(), MachineState::Starting);
  become_ready(id());
  pass(301s);
  pass(1s);
  EXPECT_EQ(coordinator_->counters().wasted_prewakes, 1u);
  EXPECT_EQ(coordinator_->ledger().latest(1).at(0).reason,
            "idle for 5m0s, and no request followed the TLS hello that woke it");
  coordinator_->exited(id(), {}, "", now_, out_);
  ASSERT_EQ(state(), MachineState::Stopped);
  hello();
  EXPECT_EQ(state(), MachineState::Starting);  // idle_timeout has passed since the last hello's
  coordinator_->start_failed(id(), Fault::ExecFailed, "no", now_, out_);
  hello();
  EXPECT_EQ(state(), MachineState::Stopped);
}

}  // namespace
}  // namespace rooster::machines
