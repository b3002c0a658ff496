// The drivers under a real keeper, in a small control of their own: what the coordinator orders is
// done, and what happens is reported.
#include "machines/drivers.hpp"

#include "core/private_address.hpp"
#include "tests/keeper/keeper_run.hpp"
#include "tests/machines/child.hpp"
#include "tests/machines/coordinator_fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <sys/socket.h>
#include <sys/un.h>

namespace rooster::machines {
namespace {

using apps::free_port;
using apps::own_program;
using ::testing::HasSubstr;

constexpr std::uint16_t kUnusedPort = 1;

/// Control as app/ has it, without workers: every input's output goes to the drivers.
class SmallControl {
  Loop loop_;  // first: what follows stands on it
  net::Resolver resolver_;
  keeper::Client& keeper_;

 public:
  std::unique_ptr<Coordinator> coordinator;
  std::unique_ptr<Drivers> drivers;

  SmallControl(keeper::Server& server, CoordinatorOptions options,
               net::ResolverOptions names = {.servers = "127.0.0.1:" + std::to_string(kUnusedPort),
                                             .try_time = std::chrono::milliseconds(200),
                                             .tries = 1})
      : resolver_(loop_, std::move(names)), keeper_(server.client()) {
    const auto welcome = server.call<keeper::Welcome>(keeper::Hello{});
    can_freeze_ = welcome.can_freeze;
    options.can_suspend = can_freeze_;
    coordinator = std::make_unique<Coordinator>(std::move(options));
    drivers = std::make_unique<Drivers>(loop_, keeper_, resolver_, *coordinator, events());
    keeper_.set_on_event(
        [this](keeper::Event event) { drivers->on_exited(std::get<keeper::Exited>(event)); });
    watch_ = std::make_unique<Watch>(
        loop_, keeper_.fd(),
        [this] {
          while (keeper_.on_readable()) {
          }
        },
        [this] { keeper_.on_writable(); });
  }
  ~SmallControl() {
    bool stopped = false;
    drivers->stop([&stopped] { stopped = true; });
    EXPECT_TRUE(run_until([&stopped] { return stopped; }));
    loop_.run_for(std::chrono::milliseconds(1));  // what was posted still refers to the drivers
  }

  template <class Call>
  void with_output(Call call) {
    Output out;
    call(Clock::now(), out);
    for (const MachineLine& line : out.lines) lines.push_back(line.message);
    for (DriverCommand& command : out.commands) drivers->run(std::move(command));
    Output more;
    coordinator->epoch_adopted(coordinator->epoch(), Clock::now(), more);
    for (DriverCommand& command : more.commands) drivers->run(std::move(command));
    watch_->want_writable(keeper_.wants_write());
  }
  template <class Condition>
  bool run_until(Condition condition) {
    const TimePoint end = Clock::now() + std::chrono::seconds(15);
    while (!condition() && Clock::now() < end) loop_.run_for(std::chrono::milliseconds(5));
    return condition();
  }
  void configure(const config::AppConfig& config) {
    with_output([&](TimePoint now, Output& out) {
      coordinator->configure(kApp, std::make_shared<config::AppConfig>(config), now, out);
    });
  }
  void wake() {
    with_output([&](TimePoint now, Output& out) {
      coordinator->wake({.app = kApp, .group = "app", .asked_at = now}, now, out);
    });
  }
  const MachineView& machine() const { return coordinator->view(kApp)->machines.at(0); }
  MachineState state() const { return coordinator->find(machine().id)->state; }
  WakeState wake_state() const { return coordinator->view(kApp)->wakes.at(0); }
  bool runs_until(MachineState wanted) {
    return run_until([this, wanted] { return state() == wanted; });
  }
  bool can_freeze() const { return can_freeze_; }

  std::vector<std::string> lines;
  std::string output;
  int notified = 0;

 private:
  DriverEvents events() {
    DriverEvents made;
    made.placed = [this](const MachineId& id, const IpAddress& private_v4) {
      coordinator->placed(id, private_v4);
    };
    made.started = [this](const MachineId& id, std::int32_t pid) {
      with_output([&](TimePoint now, Output& out) { coordinator->started(id, pid, now, out); });
    };
    made.start_failed = [this](const MachineId& id, Fault fault, std::string detail) {
      with_output([&](TimePoint now, Output& out) {
        coordinator->start_failed(id, fault, std::move(detail), now, out);
      });
    };
    made.listening = [this](const MachineId& id) {
      with_output([&](TimePoint now, Output& out) { coordinator->listening(id, now, out); });
    };
    made.diagnosed = [this](const MachineId& id, Fault fault, std::string detail) {
      coordinator->diagnosed(id, fault, std::move(detail));
    };
    made.notified = [this](const MachineId& id) {
      ++notified;
      with_output([&](TimePoint now, Output& out) { coordinator->notified(id, now, out); });
    };
    made.checked = [this](const MachineId& id, std::size_t check, bool passing, std::string text) {
      with_output([&](TimePoint now, Output& out) {
        coordinator->checked(id, check, passing, std::move(text), now, out);
      });
    };
    made.exited = [this](const MachineId& id, ExitStatus status, std::string last) {
      with_output([&](TimePoint now, Output& out) {
        coordinator->exited(id, status, std::move(last), now, out);
      });
    };
    made.suspended = [this](const MachineId& id, bool done) {
      with_output([&](TimePoint now, Output& out) { coordinator->suspended(id, done, now, out); });
    };
    made.resumed = [this](const MachineId& id, bool done) {
      with_output([&](TimePoint now, Output& out) { coordinator->resumed(id, done, now, out); });
    };
    made.resolved = [this](AppId app, const std::vector<IpAddress>& addresses) {
      with_output(
          [&](TimePoint now, Output& out) { coordinator->resolved(app, addresses, now, out); });
    };
    made.uid_for = [](const std::string&) { return std::optional<std::uint32_t>(); };
    made.output = [this](const MachineId&, std::string_view piece) { output += piece; };
    return made;
  }

  std::unique_ptr<Watch> watch_;
  bool can_freeze_ = false;
};

config::AppConfig app_that_runs(std::vector<std::string> command, std::uint16_t port = 0) {
  config::AppConfig made = make_config();
  made.processes[0].command = std::move(command);
  made.services[0].internal_port = port != 0 ? port : free_port();
  made.rooster.directory = "/";
  return made;
}

config::AppConfig shell_app(const std::string& script) {
  return app_that_runs({"/bin/sh", "-c", script});
}

config::AppConfig listener_app(int delay_ms = 0) {
  const std::uint16_t port = free_port();
  return app_that_runs({own_program(), "--listen", std::to_string(port), std::to_string(delay_ms)},
                       port);
}

class DriversTest : public ::testing::Test {
 protected:
  void stop(SmallControl& control) const {
    control.with_output(
        [&](TimePoint now, Output& out) { control.coordinator->stop_all(now, out); });
    EXPECT_TRUE(control.run_until([&] { return control.coordinator->has_stopped_all(); }));
  }
  keeper::KeeperRun keeper;
  std::unique_ptr<keeper::Server> server = keeper.accept_server();
};

TEST_F(DriversTest, StartAMachineAndSeeItListen) {
  SmallControl control(*server, {.region = "gru"});
  control.configure(listener_app(100));
  control.wake();
  ASSERT_TRUE(control.runs_until(MachineState::Ready));
  const auto timeline = *control.machine().timeline;
  EXPECT_GE(timeline.listening - timeline.started, std::chrono::milliseconds(90));
  EXPECT_THAT(control.output, HasSubstr("pid "));
  stop(control);
}

TEST_F(DriversTest, TellWhyACommandCanNotBeExecuted) {
  struct Case {
    std::vector<std::string> command;
    const char* detail;
  };
  const auto plain = keeper.directory() / "plain";
  std::ofstream(plain) << "text";
  for (const Case& one : {Case{{"/nowhere/app"}, "/nowhere/app: No such file or directory"},
                          Case{{plain.string()}, "Permission denied"},
                          Case{{"no-such-program-anywhere"}, "No such file or directory"}}) {
    SmallControl control(*server, {.region = "gru"});
    control.configure(app_that_runs(one.command));
    control.wake();
    ASSERT_TRUE(control.run_until([&] { return control.wake_state().fault != Fault::None; }));
    EXPECT_EQ(control.wake_state().fault, Fault::ExecFailed);
    EXPECT_THAT(control.wake_state().detail, HasSubstr(one.detail));
    EXPECT_EQ(control.state(), MachineState::Stopped);
  }
}

TEST_F(DriversTest, TellOfADirectoryThatIsNotThere) {
  SmallControl control(*server, {.region = "gru"});
  config::AppConfig config = shell_app("true");
  config.rooster.directory = "/nowhere";
  control.configure(config);
  control.wake();
  ASSERT_TRUE(control.run_until([&] { return control.wake_state().fault != Fault::None; }));
  EXPECT_EQ(control.wake_state().fault, Fault::ExecFailed);
  EXPECT_THAT(control.wake_state().detail, HasSubstr("/nowhere"));
}

TEST_F(DriversTest, GiveTheLastLinesOfWhatEndedBeforeItWasReady) {
  SmallControl control(*server, {.region = "gru"});
  control.configure(
      shell_app("for i in 1 2 3 4 5 6 7; do echo line $i; done; "
                "echo no database >&2; exit 3"));
  control.wake();
  ASSERT_TRUE(control.run_until([&] { return control.wake_state().fault != Fault::None; }));
  EXPECT_EQ(control.wake_state().fault, Fault::ExitedBeforeReady);
  const std::string detail = control.wake_state().detail;
  EXPECT_THAT(detail, HasSubstr("exited with code: 3"));
  EXPECT_THAT(detail, HasSubstr("line 7 | no database"));
  EXPECT_THAT(detail, ::testing::Not(HasSubstr("line 2")));
  EXPECT_THAT(control.output, HasSubstr("line 1\n"));
}

TEST_F(DriversTest, TakeAllOutputHoweverMuchAndKeepOnlyItsEnd) {
  SmallControl control(*server, {.region = "gru"});
  control.configure(
      shell_app("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo the end; exit 1"));
  control.wake();
  ASSERT_TRUE(control.run_until([&] { return control.wake_state().fault != Fault::None; }));
  EXPECT_GE(control.output.size(), 3 * 3'000'000u);  // three starts of one wake
  EXPECT_THAT(control.wake_state().detail, HasSubstr("the end"));
  EXPECT_LT(control.wake_state().detail.size(), 16'384u);
}

TEST_F(DriversTest, TellTheSignalThatKilledAMachine) {
  SmallControl control(*server, {.region = "gru"});
  control.configure(listener_app());
  control.wake();
  ASSERT_TRUE(control.runs_until(MachineState::Ready));
  const std::int32_t pid = control.coordinator->find(control.machine().id)->pid;
  ASSERT_EQ(::kill(pid, SIGKILL), 0);
  ASSERT_TRUE(control.runs_until(MachineState::Stopped));
  EXPECT_THAT(control.lines.back(), HasSubstr("was killed by signal 9"));
}

void say_ready(const std::string& name) {
  const Descriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, name.data(), name.size());
  if (name.front() == '@') address.sun_path[0] = '\0';
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  constexpr char kText[] = "READY=1";
  ASSERT_GT(::sendto(socket.get(), kText, sizeof kText - 1, 0,
                     reinterpret_cast<sockaddr*>(&address), size),
            0);
}

TEST_F(DriversTest, BelieveReadyOnlyFromTheMachinesOwnProcesses) {
  const std::string file = keeper.directory() / "go";
  SmallControl control(*server, {.region = "gru"});
  config::AppConfig config = app_that_runs({own_program(), "--notify", "0", file});
  config.rooster.notify = true;
  control.configure(config);
  control.wake();
  ASSERT_TRUE(control.run_until([&] { return control.output.find('\n') != std::string::npos; }));
  ASSERT_THAT(control.output, HasSubstr("socket "));
  say_ready(control.output.substr(7, control.output.find('\n') - 7));  // this process is a stranger
  std::ofstream(file) << "";
  // Messages come in their order: once the machine's own has counted, the stranger's was dropped.
  ASSERT_TRUE(control.runs_until(MachineState::Ready));
  EXPECT_EQ(control.notified, 1);
  stop(control);
}

TEST_F(DriversTest, FreezeAndThaw) {
  SmallControl control(*server, {.region = "gru"});
  if (!control.can_freeze()) return;  // no writable cgroup2 here: the coordinator stops instead
  control.configure(listener_app());
  control.wake();
  ASSERT_TRUE(control.runs_until(MachineState::Ready));
  control.with_output([&](TimePoint now, Output& out) {
    EXPECT_TRUE(control.coordinator->stop(control.machine().id, true, now, out));
  });
  ASSERT_TRUE(control.runs_until(MachineState::Suspended));
  const std::int32_t pid = control.coordinator->find(control.machine().id)->pid;
  control.wake();
  ASSERT_TRUE(control.runs_until(MachineState::Ready));
  EXPECT_EQ(control.coordinator->find(control.machine().id)->pid, pid);
  stop(control);
}

TEST_F(DriversTest, AdoptWhatAPredecessorStarted) {
  config::AppConfig config = listener_app();
  std::int32_t pid = 0;
  {
    SmallControl control(*server, {.region = "gru"});
    server->call<keeper::Done>(keeper::Ready{});
    control.configure(config);
    control.wake();
    ASSERT_TRUE(control.runs_until(MachineState::Ready));
    pid = control.coordinator->find(control.machine().id)->pid;
  }
  server->exit_with(1);
  auto successor = keeper.accept_server();
  SmallControl control(*successor, {.region = "gru", .awaits_adoption = true});
  control.configure(config);
  control.wake();  // a request that came meanwhile: no second start
  for (keeper::Alive& alive : successor->list()) {
    const MachineId id{alive.machine};
    control.with_output([&](TimePoint now, Output& out) {
      EXPECT_TRUE(control.coordinator->adopt(id, alive.fingerprint, alive.process.pid,
                                             alive.is_frozen, now, out));
    });
    control.drivers->adopt(kApp, std::move(alive));
  }
  control.with_output(
      [&](TimePoint now, Output& out) { control.coordinator->adoption_done(now, out); });
  ASSERT_TRUE(control.runs_until(MachineState::Ready));
  EXPECT_EQ(control.coordinator->find(control.machine().id)->pid, pid);
  EXPECT_EQ(control.coordinator->counters().starts, 0u);
  stop(control);
}

TEST_F(DriversTest, InANetworkOfItsOwnAMachineIsStartedSeenAndChecked) {
  server->call<keeper::Done>(keeper::Ready{});
  const auto hub = server->call<keeper::HubReady>(keeper::Hub{.tun_name = "", .listeners = 1});
  ASSERT_EQ(hub.no_catch, "");
  CoordinatorOptions options{.region = "gru"};
  const NetworkId network{0x33};
  options.places = {
      .of_app =
          [=](const config::AppConfig&) {
            return AppPlace{.network = network, .has_namespaces = true};
          },
      .of_machine = [=](NetworkId,
                        const MachineId&) { return machine_address(network, HostId{2}, 7); }};
  config::AppConfig config = listener_app();
  config::Check check;
  check.kind = config::Check::Kind::Tcp;
  check.interval = std::chrono::seconds(1);
  check.timeout = std::chrono::seconds(5);
  config.services[0].checks.push_back(check);
  // The same port on the host does not matter to it.
  const Descriptor taken(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage address{};
  const socklen_t size =
      Endpoint{IpAddress::v4(0x7F000001), config.services[0].internal_port}.to(address);
  ASSERT_EQ(::bind(taken.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(taken.get(), 1), 0);
  std::int32_t pid = 0;
  {
    SmallControl control(*server, options);
    control.configure(config);
    control.wake();
    ASSERT_TRUE(control.runs_until(MachineState::Ready));
    EXPECT_TRUE(control.machine().netns);
    EXPECT_TRUE(control.machine().private_v4.is_v4());
    EXPECT_TRUE(control.run_until([&] { return control.machine().checks_passing; }));
    pid = control.coordinator->find(control.machine().id)->pid;
  }
  server->exit_with(1);
  auto successor = keeper.accept_server();
  options.awaits_adoption = true;
  SmallControl control(*successor, options);
  control.configure(config);
  for (keeper::Alive& alive : successor->list()) {
    const MachineId id{alive.machine};
    ASSERT_TRUE(alive.process.place);
    control.coordinator->placed(id, alive.process.place->address_v4);
    control.with_output([&](TimePoint now, Output& out) {
      EXPECT_TRUE(control.coordinator->adopt(id, alive.fingerprint, alive.process.pid,
                                             alive.is_frozen, now, out));
    });
    control.drivers->adopt(kApp, std::move(alive));
  }
  control.with_output(
      [&](TimePoint now, Output& out) { control.coordinator->adoption_done(now, out); });
  ASSERT_TRUE(control.runs_until(MachineState::Ready));
  EXPECT_EQ(control.coordinator->find(control.machine().id)->pid, pid);
  EXPECT_TRUE(control.machine().private_v4.is_v4());
  stop(control);
}

// ---- the address driver

config::AppConfig address_app(const std::string& address) {
  config::AppConfig made = make_config();
  made.processes[0].command.clear();
  made.rooster.driver = config::DriverKind::Address;
  made.rooster.address = address;
  return made;
}

TEST_F(DriversTest, ResolveANameWhenItIsFirstWanted) {
  SmallControl control(*server, {.region = "gru"});
  control.configure(address_app("localhost"));
  EXPECT_TRUE(control.coordinator->view(kApp)->machines.empty());
  control.wake();
  ASSERT_TRUE(
      control.run_until([&] { return !control.coordinator->view(kApp)->machines.empty(); }));
  EXPECT_EQ(control.state(), MachineState::Ready);
  EXPECT_TRUE(control.machine().address.is_loopback());
}

TEST_F(DriversTest, TellOfANameThatDoesNotResolve) {
  SmallControl control(*server, {.region = "gru"});
  control.configure(address_app("nobody.invalid"));
  control.wake();
  ASSERT_TRUE(control.run_until([&] { return control.wake_state().fault != Fault::None; }));
  EXPECT_EQ(control.wake_state().fault, Fault::UpstreamUnresolved);
  EXPECT_THAT(control.wake_state().detail, HasSubstr("nobody.invalid"));
}

TEST_F(DriversTest, TakeTheNewAddressOfAnAppThatChangedWhileTheOldWasLookedUp) {
  SmallControl control(*server, {.region = "gru"});
  control.configure(address_app("nobody.invalid"));
  control.wake();
  control.configure(address_app("localhost"));
  control.wake();
  ASSERT_TRUE(
      control.run_until([&] { return !control.coordinator->view(kApp)->machines.empty(); }));
  EXPECT_TRUE(control.machine().address.is_loopback());
  EXPECT_EQ(control.wake_state().fault, Fault::None);
}

}  // namespace
}  // namespace rooster::machines
