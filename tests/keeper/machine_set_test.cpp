// Machines in their life: signals, kills that nothing escapes, freezing, output that nobody reads,
// adoption.
#include "keeper/machine_set.hpp"

#include "tests/keeper/keeper_run.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include <poll.h>
#include <unistd.h>

namespace rooster::keeper {
namespace {

// Every test here runs with cgroups, where they are, and without.
class MachineSet : public testing::TestWithParam<bool> {
 protected:
  KeeperRun keeper_{[](KeeperOptions& options) { options.uses_cgroup = GetParam(); }};
  std::unique_ptr<Server> server_ = keeper_.accept_server();

  std::string file(const char* name) const { return keeper_.directory() / name; }
  pid_t pid_in(const char* name) const { return std::stoi(wait_for_line(file(name))); }
};

std::string name_of_mode(const testing::TestParamInfo<bool>& mode) {
  return mode.param ? "WithCgroup" : "WithoutCgroup";
}
INSTANTIATE_TEST_SUITE_P(Containment, MachineSet, testing::Bool(), name_of_mode);

TEST_P(MachineSet, SignalReachesTheWholeGroup) {
  const auto spawned = server_->call<Spawned>(
      shell("m",
            "sh -c 'trap \"echo child; exit\" TERM; echo up; while :; do sleep 0.01; done' &"
            "trap 'wait; echo parent; exit 5' TERM; wait; wait"));
  read_until(spawned.output.get(), "up\n");
  server_->call<Done>(Signal{.machine = "m", .signal = SIGTERM});
  const std::string output = read_until(spawned.output.get(), "parent\n");
  EXPECT_THAT(output, testing::HasSubstr("child\n"));
  EXPECT_EQ(server_->next_exit()->code, 5);
}

TEST_P(MachineSet, SignalToNobodyFails) {
  EXPECT_EQ(server_->call<Failed>(Signal{.machine = "none", .signal = SIGTERM}).error, ESRCH);
  EXPECT_EQ(server_->call<Failed>(Kill{.machine = "none"}).error, ESRCH);
}

// A daemon in a session of its own whose parents are gone, as double forking makes it.
constexpr const char* kDaemonScript =
    "setsid sh -c 'setsid sleep 1000 >/dev/null 2>&1 & echo $! > %/daemon.tmp;"
    "mv %/daemon.tmp %/daemon' & wait; sleep 1000 & echo $! > %/child.tmp; mv %/child.tmp %/child;";

std::string with_directory(std::string script, const std::filesystem::path& directory) {
  for (std::size_t at = 0; (at = script.find('%', at)) != std::string::npos;)
    script.replace(at, 1, directory.string());
  return script;
}

TEST_P(MachineSet, KillTakesGrandchildrenAndDaemonsToo) {
  const auto spawned = server_->call<Spawned>(
      shell("m", with_directory(kDaemonScript, keeper_.directory()) + "wait"));
  const pid_t daemon = pid_in("daemon");
  const pid_t child = pid_in("child");
  ASSERT_TRUE(is_alive(daemon));
  server_->call<Done>(Kill{.machine = "m"});
  const auto exited = server_->next_exit();
  ASSERT_TRUE(exited);
  EXPECT_EQ(exited->signal, SIGKILL);
  EXPECT_FALSE(is_alive(daemon));
  EXPECT_FALSE(is_alive(child));
  EXPECT_FALSE(is_alive(spawned.pid));
}

TEST_P(MachineSet, WhatTheLeaderLeavesBehindIsKilled) {
  server_->call<Spawned>(shell("m", with_directory(kDaemonScript, keeper_.directory()) + "exit 0"));
  const auto exited = server_->next_exit();
  ASSERT_TRUE(exited);
  EXPECT_EQ(exited->code, 0);
  EXPECT_FALSE(is_alive(pid_in("daemon")));
  EXPECT_FALSE(is_alive(pid_in("child")));
}

TEST_P(MachineSet, FreezeStopsAndThawResumes) {
  const auto spawned =
      server_->call<Spawned>(shell("m", "while :; do echo tick; sleep 0.005; done"));
  read_until(spawned.output.get(), "tick\n");
  if (spawned.cgroup.empty()) {
    EXPECT_EQ(server_->call<Failed>(Freeze{.machine = "m"}).error, EOPNOTSUPP);
    return;
  }
  server_->call<Done>(Freeze{.machine = "m"});
  char buffer[4096];
  while (::read(spawned.output.get(), buffer, sizeof buffer) > 0) {
  }
  pollfd watch = {.fd = spawned.output.get(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&watch, 1, 50), 0);  // ten ticks' time
  const auto machines = server_->list();
  ASSERT_EQ(machines.size(), 1U);
  EXPECT_TRUE(machines.front().is_frozen);
  server_->call<Done>(Thaw{.machine = "m"});
  EXPECT_FALSE(read_until(spawned.output.get(), "tick\n").empty());
}

TEST_P(MachineSet, AFrozenMachineCanBeKilled) {
  const auto spawned = server_->call<Spawned>(shell("m", "sleep 1000"));
  if (spawned.cgroup.empty()) return;
  server_->call<Done>(Freeze{.machine = "m"});
  server_->call<Done>(Kill{.machine = "m"});
  EXPECT_EQ(server_->next_exit()->signal, SIGKILL);
}

TEST_P(MachineSet, MachinesSurviveTheServerAndAreAdopted) {
  Spawn spawn = shell("m", "echo before; sleep 1000");
  spawn.fingerprint = "config-7";
  const auto spawned = server_->call<Spawned>(std::move(spawn));
  ::kill(server_->pid(), SIGKILL);
  server_ = nullptr;
  server_ = keeper_.accept_server();
  EXPECT_EQ(server_->call<Welcome>(Hello{}).generation, 2U);
  const auto machines = server_->list();
  ASSERT_EQ(machines.size(), 1U);
  EXPECT_EQ(machines.front().machine, "m");
  EXPECT_EQ(machines.front().fingerprint, "config-7");
  EXPECT_EQ(machines.front().process.pid, spawned.pid);
  EXPECT_EQ(machines.front().process.start_time, spawned.start_time);
  EXPECT_TRUE(machines.front().process.pidfd);
  EXPECT_TRUE(machines.front().process.output);
  EXPECT_TRUE(is_alive(spawned.pid));
  server_->call<Done>(Kill{.machine = "m"});
  EXPECT_EQ(server_->next_exit()->machine, "m");
}

TEST_P(MachineSet, OutputNeverBlocksAMachineWithoutAServer) {
  const auto spawned = server_->call<Spawned>(
      shell("m", "read -t 0 x; while [ ! -e " + file("go") +
                     " ]; do sleep 0.01; done;"
                     "head -c 1000000 /dev/zero | tr '\\0' x; echo last; echo done > " +
                     file("done") + "; sleep 1000"));
  // A second server that has not listed its machines yet doesn't read either.
  ::kill(server_->pid(), SIGKILL);
  server_ = nullptr;
  server_ = keeper_.accept_server();
  std::ofstream(file("go")) << "now";
  EXPECT_EQ(wait_for_line(file("done")), "done");
  ASSERT_TRUE(eventually([&] {
    const auto machines = server_->list();
    return machines.size() == 1 && machines.front().output_tail.ends_with("xlast\n");
  }));
}

TEST_P(MachineSet, AnExitWithoutAServerIsToldToTheNext) {
  const auto spawned = server_->call<Spawned>(
      shell("m", "while [ ! -e " + file("go") + " ]; do sleep 0.01; done; exit 9"));
  const pid_t first = server_->pid();
  // The other way round its end could still be told to the first server.
  ::kill(first, SIGKILL);
  std::ofstream(file("go")) << "now";
  server_ = nullptr;
  server_ = keeper_.accept_server();
  server_->call<Welcome>(Hello{});
  const auto exited = server_->next_exit();
  ASSERT_TRUE(exited);
  EXPECT_EQ(exited->code, 9);
  EXPECT_EQ(exited->pid, spawned.pid);
}

TEST_P(MachineSet, ListGoesOnPageByPage) {
  for (int i = 0; i < 12; ++i)
    server_->call<Spawned>(shell("m" + std::to_string(10 + i), "sleep 1000"));
  const auto machines = server_->list();
  ASSERT_EQ(machines.size(), 12U);
  EXPECT_EQ(machines.front().machine, "m10");
  EXPECT_EQ(machines.back().machine, "m21");
}

TEST_P(MachineSet, MachinesDieWithAKilledKeeper) {
  const auto spawned = server_->call<Spawned>(shell("m", "exec sleep 1000"));
  const pid_t server = server_->pid();
  keeper_.signal(SIGKILL);
  EXPECT_EQ(keeper_.wait_for_exit(), -SIGKILL);
  EXPECT_TRUE(eventually([&] { return !is_alive(spawned.pid) && !is_alive(server); }));
  EXPECT_TRUE(eventually([&] {
    server_->client().on_readable();
    return !server_->client().is_open();
  }));
}

TEST_P(MachineSet, TheNextKeeperSweepsWhatAKilledOneLeft) {
  server_->call<Spawned>(shell("m", with_directory(kDaemonScript, keeper_.directory()) + "wait"));
  const pid_t daemon = pid_in("daemon");
  const pid_t child = pid_in("child");
  keeper_.signal(SIGKILL);
  EXPECT_EQ(keeper_.wait_for_exit(), -SIGKILL);
  EXPECT_TRUE(is_alive(daemon));
  keeper_.start_again();
  auto next = keeper_.accept_server();
  EXPECT_FALSE(is_alive(daemon));
  EXPECT_FALSE(is_alive(child));
  EXPECT_TRUE(next->list().empty());
}

TEST_P(MachineSet, DynamicUserDiesWithTheKeeperToo) {
  Spawn spawn = shell("m", "exec sleep 1000");
  spawn.uid = 200321;  // as root: a change of user clears the death signal unless it is set after
  const auto spawned = server_->call<Spawned>(std::move(spawn));
  keeper_.signal(SIGKILL);
  EXPECT_EQ(keeper_.wait_for_exit(), -SIGKILL);
  EXPECT_TRUE(eventually([&] { return !is_alive(spawned.pid); }));
}

}  // namespace
}  // namespace rooster::keeper
