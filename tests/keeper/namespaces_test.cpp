// Machines in namespaces of their own, and commands run in them, under a real keeper with a real
// hub. The same tests run again as an unprivileged user.
#include "keeper/process_tree.hpp"
#include "keeper/restart_budget.hpp"
#include "keeper/small_file.hpp"
#include "tests/keeper/keeper_run.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

namespace rooster::keeper {
namespace {

using testing::HasSubstr;
using testing::Not;

IpAddress machine_address(int machine) {
  return *IpAddress::parse("fdaa:0:33:1:0:" + std::to_string(machine) + ":0:2");
}

Spawn private_shell(const std::string& id, int machine, const std::string& script) {
  Spawn spawn = shell(id, script);
  spawn.network = MachineNetwork{
      .address = machine_address(machine),
      .hosts = "127.0.0.1 localhost\n" + machine_address(machine).to_string() + " fly-local-6pn\n",
      .resolvers = "nameserver fdaa::3\noptions edns0\n"};
  return spawn;
}

std::string tun_node() {
  const char* node = std::getenv("ROOSTER_TEST_TUN");
  return node != nullptr ? node : "/dev/net/tun";
}

/// The namespaces that a process is in.
std::set<std::string> namespaces_of(const std::filesystem::path& process) {
  std::set<std::string> found;
  for (const char* kind : {"net", "mnt", "pid", "user"}) {
    std::error_code error;
    const auto link = std::filesystem::read_symlink(process / "ns" / kind, error);
    if (!error) found.insert(link.string());
  }
  return found;
}

std::vector<ProcessStat> processes() {
  std::vector<ProcessStat> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error))
    if (const auto stat = read_stat(std::atoi(entry.path().filename().c_str())))
      found.push_back(*stat);
  return found;
}

/// The namespaces that only descendants of `keeper` are in. Others' tests run beside this one.
std::set<std::string> namespaces_made_by(pid_t keeper) {
  std::set<std::string> made;
  for (const ProcessStat& one : processes()) {
    if (one.parent != keeper) continue;
    made.merge(namespaces_of("/proc/" + std::to_string(one.pid)));
  }
  for (const std::string& own : namespaces_of("/proc/self")) made.erase(own);
  return made;
}

bool is_any_in_use(const std::set<std::string>& namespaces) {
  for (const ProcessStat& one : processes())
    for (const std::string& in : namespaces_of("/proc/" + std::to_string(one.pid)))
      if (namespaces.contains(in)) return true;
  return false;
}

/// What the keeper's mounts and links would look like on the host.
bool is_host_untouched() {
  const auto mounts = read_small_file("/proc/self/mountinfo", 1024 * 1024).value_or("");
  return mounts.find(" - tmpfs rooster ") == std::string::npos &&
         !std::filesystem::exists("/sys/class/net/rooster0") &&
         !std::filesystem::exists("/sys/class/net/m2");
}

/// Processes whose command line holds `text`.
int count_processes(const std::string& text) {
  int count = 0;
  std::error_code error;
  for (const auto& process : std::filesystem::directory_iterator("/proc", error)) {
    auto line = read_small_file(process.path().string() + "/cmdline", 64 * 1024);
    if (!line) continue;
    std::ranges::replace(*line, '\0', ' ');
    if (line->find(text) != std::string::npos && process.path().filename() != "self" &&
        process.path().filename() != std::to_string(::getpid()))
      ++count;
  }
  return count;
}

class Namespaces : public testing::Test {
 protected:
  void SetUp() override { begin(); }

  void begin() {
    server_ = keeper_.accept_server();
    welcome_ = server_->call<Welcome>(Hello{.asks_namespaces = true});
    ASSERT_EQ(welcome_.no_private_network, "");
    ready_ = server_->call<HubReady>(Hub{.tun_device = tun_node(), .listeners = 1});
    ASSERT_EQ(ready_.no_tun, "");
    ASSERT_EQ(ready_.no_catch, "");
  }

  std::string run_and_read(Spawn spawn) {
    const auto spawned = server_->call<Spawned>(std::move(spawn));
    std::string all = read_until(spawned.output.get(), "end\n");
    EXPECT_TRUE(server_->next_exit());
    return all;
  }

  KeeperRun keeper_;
  std::unique_ptr<Server> server_;
  Welcome welcome_;
  HubReady ready_;
};

TEST_F(Namespaces, AMachineSeesItsOwnNetworkFilesAndProcesses) {
  const std::string all = run_and_read(private_shell(
      "m", 1,
      "cat /proc/1/comm /etc/resolv.conf /etc/hosts; grep eth0 /proc/net/if_inet6;"
      "cat /proc/net/route | grep -c eth0; grep CapEff /proc/self/status;"
      "cat /proc/sys/net/ipv4/ip_unprivileged_port_start; ls -d /proc/[0-9]* | wc -l; echo end"));
  EXPECT_THAT(all, HasSubstr("rooster-init\nnameserver fdaa::3\noptions edns0\n"));
  EXPECT_THAT(all, HasSubstr("fdaa:0:33:1:0:1:0:2 fly-local-6pn\n"));
  EXPECT_THAT(all, HasSubstr("fdaa0000003300010000000100000002 02 70 00 "));
  EXPECT_THAT(all, Not(HasSubstr("fe80")));
  EXPECT_THAT(all, HasSubstr("\n0\n"));
  // init, the shell, ls and wc.
  EXPECT_THAT(all, HasSubstr("\n4\nend\n"));
  if (::geteuid() != 0) {
    EXPECT_THAT(all, HasSubstr("CapEff:\t0000000000000000\n"));
  }
}

TEST_F(Namespaces, TheNodesDataIsHidden) {
  const std::filesystem::path data = std::filesystem::canonical(keeper_.directory() / "data");
  const std::string state = data / "keeper.state";
  ASSERT_EQ(::access(state.c_str(), R_OK), 0);
  EXPECT_EQ(run_and_read(private_shell("m", 1, "cat " + state + " 2>&1; echo end")).find("keeper "),
            std::string::npos);
  // Who keeps an app there has wanted it so.
  Spawn inside = private_shell("inside", 2, "cat keeper.state; echo end");
  inside.cwd = data;
  EXPECT_THAT(run_and_read(std::move(inside)), HasSubstr("keeper "));
}

TEST_F(Namespaces, ExitCodesSignalsAndPlacesComeBack) {
  const auto spawned = server_->call<Spawned>(
      private_shell("m", 1, "trap 'echo got; exit 7' TERM; echo on; while :; do sleep 0.01; done"));
  ASSERT_TRUE(spawned.place);
  EXPECT_EQ(spawned.place->address, machine_address(1));
  EXPECT_TRUE(spawned.place->address_v4.is_v4());
  EXPECT_TRUE(spawned.place->diag);
  EXPECT_TRUE(spawned.pidfd);
  const auto stat = read_stat(spawned.pid);
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->start_time, spawned.start_time);
  EXPECT_EQ(stat->session, spawned.pid);
  read_until(spawned.output.get(), "on\n");
  server_->call<Done>(Signal{.machine = "m", .signal = SIGTERM});
  EXPECT_THAT(read_until(spawned.output.get(), "got\n"), HasSubstr("got"));
  const auto exited = server_->next_exit();
  ASSERT_TRUE(exited);
  EXPECT_EQ(exited->pid, spawned.pid);
  EXPECT_EQ(exited->code, 7);
  // The default action of a signal, as for any process.
  server_->call<Spawned>(private_shell("m", 1, "exec sleep 1000"));
  server_->call<Done>(Signal{.machine = "m", .signal = SIGTERM});
  const auto killed = server_->next_exit();
  ASSERT_TRUE(killed);
  EXPECT_EQ(killed->signal, SIGTERM);
}

TEST_F(Namespaces, AFailedStartIsExplainedAndLeavesNothing) {
  const auto before = namespaces_made_by(keeper_.pid());
  Spawn missing = private_shell("m", 1, "");
  missing.argv = {"/nowhere/app"};
  const auto failed = server_->call<SpawnFailed>(std::move(missing));
  EXPECT_EQ(failed.error, ENOENT);
  EXPECT_EQ(failed.text, "exec /nowhere/app: No such file or directory");
  Spawn wrong = private_shell("m", 1, "exit 0");
  wrong.cwd = "/nowhere";
  EXPECT_EQ(server_->call<SpawnFailed>(std::move(wrong)).step, SpawnStep::Directory);
  server_->call<Spawned>(private_shell("m", 1, "exit 0"));
  EXPECT_TRUE(server_->next_exit());
  EXPECT_EQ(server_->call<Failed>(Sockets{.machine = "m"}).error, ESRCH);
  EXPECT_TRUE(eventually([&] { return namespaces_made_by(keeper_.pid()) == before; }));
}

TEST_F(Namespaces, WhatTheLeaderLeavesBehindEndsWithIt) {
  const auto before = namespaces_made_by(keeper_.pid());
  const auto spawned = server_->call<Spawned>(private_shell(
      "m", 1, "setsid sleep 91234 & (setsid sleep 91234 &) ; echo up; read x; exit 0"));
  (void)read_until(spawned.output.get(), "up\n");
  EXPECT_TRUE(server_->next_exit());  // its input is empty
  EXPECT_EQ(count_processes("sleep 91234"), 0);
  EXPECT_TRUE(eventually([&] { return namespaces_made_by(keeper_.pid()) == before; }));
}

TEST_F(Namespaces, KillTakesAllOfAMachine) {
  const auto spawned = server_->call<Spawned>(
      private_shell("m", 1, "setsid sleep 91235 & echo up; while :; do sleep 0.1; done"));
  (void)read_until(spawned.output.get(), "up\n");
  server_->call<Done>(Kill{.machine = "m"});
  const auto exited = server_->next_exit();
  ASSERT_TRUE(exited);
  EXPECT_EQ(exited->signal, SIGKILL);
  EXPECT_EQ(count_processes("sleep 91235"), 0);
}

TEST_F(Namespaces, NotifySocketWorksInside) {
  Spawn spawn = private_shell("m", 1, "");
  spawn.argv = {"/proc/self/exe", "--as-notifier"};
  spawn.argv[0] = std::filesystem::read_symlink("/proc/self/exe").string();
  spawn.wants_notify = true;
  const auto spawned = server_->call<Spawned>(std::move(spawn));
  ASSERT_TRUE(spawned.notify);
  pollfd watch = {.fd = spawned.notify.get(), .events = POLLIN, .revents = 0};
  ASSERT_GT(::poll(&watch, 1, 20'000), 0);
  char text[64] = {};
  iovec part = {.iov_base = text, .iov_len = sizeof text};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))] = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  EXPECT_EQ(::recvmsg(spawned.notify.get(), &message, 0), 7);
  const cmsghdr* head = CMSG_FIRSTHDR(&message);
  ASSERT_NE(head, nullptr);
  ucred sender = {};
  std::copy_n(CMSG_DATA(head), sizeof sender, reinterpret_cast<unsigned char*>(&sender));
  EXPECT_EQ(sender.pid, spawned.pid);
}

TEST_F(Namespaces, ASuccessorFindsTheMachineItsPlaceAndTheHub) {
  server_->call<Done>(Ready{});
  const auto spawned = server_->call<Spawned>(private_shell("m", 1, "echo on; sleep 1000"));
  ::kill(server_->pid(), SIGKILL);
  begin();
  const auto alive = server_->list();
  ASSERT_EQ(alive.size(), 1u);
  EXPECT_EQ(alive[0].process.pid, spawned.pid);
  ASSERT_TRUE(alive[0].process.place);
  EXPECT_EQ(alive[0].process.place->address_v4, spawned.place->address_v4);
  EXPECT_EQ(server_->call<HubReady>(Hub{.listeners = 3}).listeners.size(), 3u);
  Catch change;
  change.add_addresses = {machine_address(2)};
  server_->call<Done>(std::move(change));
  auto made = server_->call<SocketsMade>(Sockets{.machine = "m", .count = 32});
  EXPECT_EQ(made.sockets.size(), 32u);
  sockaddr_storage to = {};
  const socklen_t size = Endpoint{machine_address(2), 99}.to(to);
  ::connect(made.sockets[0].get(), reinterpret_cast<const sockaddr*>(&to), size);
  pollfd watch = {.fd = made.sockets[0].get(), .events = POLLOUT, .revents = 0};
  ASSERT_GT(::poll(&watch, 1, 20'000), 0);
  EXPECT_EQ(watch.revents, POLLOUT);
}

TEST_F(Namespaces, AKilledHubIsReplaced) {
  server_->call<Spawned>(private_shell("old", 1, "sleep 1000"));
  const auto hub = [&] {
    for (const auto& process : std::filesystem::directory_iterator("/proc")) {
      const auto number = process.path().filename().string();
      const auto stat = read_small_file(process.path().string() + "/stat").value_or("");
      if (stat.find("(rooster-hub) ") == std::string::npos) continue;
      const auto about = read_stat(std::atoi(number.c_str()));
      if (about && about->parent == keeper_.pid()) return about->pid;
    }
    return 0;
  };
  // Once more than is forgiven at once: the last one comes back too, a while later.
  pid_t last = 0;
  for (int i = 0; i <= RestartBudget::kAtOnce; ++i) {
    ASSERT_TRUE(eventually([&] { return hub() != last && hub() != 0; })) << "death " << i;
    last = hub();
    ::kill(last, SIGKILL);
  }
  ASSERT_TRUE(eventually([&] { return hub() != last && hub() != 0; }));
  EXPECT_EQ(server_->call<SocketsMade>(Sockets{.machine = "old"}).sockets.size(), 1u);
  EXPECT_TRUE(server_->call<Spawned>(private_shell("new", 2, "sleep 1000")).place);
}

TEST_F(Namespaces, NothingIsLeftOfAKilledKeeper) {
  server_->call<Spawned>(private_shell("m", 1, "setsid sleep 91236 & sleep 91236"));
  server_->call<Executed>(Exec{.machine = "m", .argv = {"/bin/sleep", "91236"}});
  const auto made = namespaces_made_by(keeper_.pid());
  EXPECT_GE(made.size(), 4u);  // the hub's network; the machine's network, mounts and processes
  keeper_.signal(SIGKILL);
  ASSERT_EQ(keeper_.wait_for_exit(), -SIGKILL);
  EXPECT_TRUE(eventually([] { return count_processes("sleep 91236") == 0; }));
  EXPECT_TRUE(eventually([&] { return !is_any_in_use(made); }));
  EXPECT_TRUE(is_host_untouched());
}

// ---- commands in a machine

Exec command(const std::string& script) {
  return Exec{.machine = "m",
              .argv = {"/bin/sh", "-c", script},
              .env = {"PATH=/usr/bin:/bin", "GREETING=hello"}};
}

TEST_F(Namespaces, ACommandRunsInsideTheMachine) {
  const auto spawned = server_->call<Spawned>(private_shell("m", 1, "sleep 1000"));
  auto executed = server_->call<Executed>(
      command("cat; echo $GREETING; cat /proc/1/comm; cat /etc/resolv.conf; echo no >&2; exit 5"));
  EXPECT_GT(executed.pid, 0);
  EXPECT_TRUE(executed.pidfd);
  ASSERT_EQ(::write(executed.input.get(), "in\n", 3), 3);
  executed.input.reset();
  const std::string output = read_until(executed.output.get(), "edns0\n");
  EXPECT_EQ(output, "in\nhello\nrooster-init\nnameserver fdaa::3\noptions edns0\n");
  EXPECT_EQ(read_until(executed.errors.get(), "no\n"), "no\n");
  const auto exited = server_->next_exec_exit();
  ASSERT_TRUE(exited);
  EXPECT_EQ(exited->exec, executed.exec);
  EXPECT_EQ(exited->code, 5);
  EXPECT_TRUE(is_alive(spawned.pid));
}

TEST_F(Namespaces, ACommandHasATerminalOfItsOwn) {
  server_->call<Spawned>(private_shell("m", 1, "sleep 1000"));
  Exec exec = command("stty size; test -t 0 && test -t 1 && echo tty; exec sleep 1000");
  exec.wants_pty = true;
  exec.rows = 40;
  exec.columns = 132;
  const auto executed = server_->call<Executed>(std::move(exec));
  ASSERT_TRUE(executed.terminal);
  EXPECT_EQ(read_until(executed.terminal.get(), "tty\r\n"), "40 132\r\ntty\r\n");
  ASSERT_EQ(::write(executed.terminal.get(), "\x03", 1), 1);  // Ctrl-C
  const auto exited = server_->next_exec_exit();
  ASSERT_TRUE(exited);
  EXPECT_EQ(exited->signal, SIGINT);
}

TEST_F(Namespaces, ACommandCanBeSignalledAndEndsWithItsMachine) {
  server_->call<Spawned>(private_shell("m", 1, "sleep 1000"));
  const auto one = server_->call<Executed>(command("sleep 91237 & wait"));
  const auto two = server_->call<Executed>(command("sleep 91238 & wait"));
  server_->call<Done>(ExecSignal{.exec = one.exec, .signal = SIGHUP});
  const auto first = server_->next_exec_exit();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->exec, one.exec);
  EXPECT_EQ(first->signal, SIGHUP);
  EXPECT_TRUE(eventually([] { return count_processes("sleep 91237") == 0; }));
  EXPECT_EQ(server_->call<Failed>(ExecSignal{.exec = one.exec, .signal = SIGHUP}).error, ESRCH);
  server_->call<Done>(Kill{.machine = "m"});
  const auto second = server_->next_exec_exit();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->exec, two.exec);
  EXPECT_EQ(second->signal, SIGKILL);
  EXPECT_TRUE(server_->next_exit());
  EXPECT_EQ(count_processes("sleep 91238"), 0);
}

TEST_F(Namespaces, ACommandThatCannotRunSaysWhy) {
  EXPECT_EQ(server_->call<Failed>(command("exit 0")).error, ESRCH);
  server_->call<Spawned>(private_shell("m", 1, "sleep 1000"));
  Exec missing = command("");
  missing.argv = {"nowhere"};
  EXPECT_EQ(server_->call<SpawnFailed>(std::move(missing)).text,
            "exec nowhere: No such file or directory");
  if (!welcome_.can_freeze) return;
  server_->call<Done>(Freeze{.machine = "m"});
  EXPECT_EQ(server_->call<Failed>(command("exit 0")).error, EBUSY);
  server_->call<Done>(Thaw{.machine = "m"});
  server_->call<Executed>(command("exit 0"));
}

TEST_F(Namespaces, ACommandAlsoRunsInAMachineOnTheHostsNetwork) {
  server_->call<Spawned>(shell("m", "sleep 1000"));
  const auto executed = server_->call<Executed>(command("echo $PPID; exit 3"));
  EXPECT_EQ(read_until(executed.output.get(), "\n"), std::to_string(keeper_.pid()) + "\n");
  const auto exited = server_->next_exec_exit();
  ASSERT_TRUE(exited);
  EXPECT_EQ(exited->code, 3);
}

TEST_F(Namespaces, RootRunsAsAnotherUserInside) {
  if (::geteuid() != 0) return;  // only root can
  Spawn spawn =
      private_shell("m", 1, "id -u; grep -E 'CapEff|CapBnd' /proc/self/status; sleep 1000");
  spawn.uid = 65534;
  const auto spawned = server_->call<Spawned>(std::move(spawn));
  const std::string output = read_until(spawned.output.get(), "CapBnd");
  EXPECT_THAT(output, HasSubstr("65534\nCapEff:\t0000000000000000\n"));
  Exec exec = command("id -u; tty; echo x > $(tty) && echo mine");
  exec.wants_pty = true;
  const auto executed = server_->call<Executed>(std::move(exec));
  EXPECT_THAT(read_until(executed.terminal.get(), "mine"), HasSubstr("65534\r\n/dev/pts/"));
}

TEST(WithoutRoot, AllOfThisWorks) {
#if __has_feature(thread_sanitizer)
  return;  // its own thread in every process forbids user namespaces
#endif
  if (::geteuid() != 0) return;  // this is that run
  constexpr uid_t kUser = 1000;
  const std::string node = "/tmp/rooster-tun-" + std::to_string(::getpid());
  ::unlink(node.c_str());
  ASSERT_EQ(::mknod(node.c_str(), S_IFCHR | 0666, makedev(10, 200)), 0);
  ASSERT_EQ(::chmod(node.c_str(), 0666), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv("ROOSTER_TEST_TUN", node.c_str(), 1);
    if (::setgroups(0, nullptr) != 0 || ::setresgid(kUser, kUser, kUser) != 0 ||
        ::setresuid(kUser, kUser, kUser) != 0)
      ::_exit(99);
    ::execl("/proc/self/exe", "keeper_tests", "--gtest_filter=Namespaces.*", nullptr);
    ::_exit(98);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  ::unlink(node.c_str());
}

}  // namespace
}  // namespace rooster::keeper
