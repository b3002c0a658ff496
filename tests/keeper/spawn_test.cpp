// Real machines under a real keeper: what a child gets, and how each kind of start fails.
#include "tests/keeper/keeper_run.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace rooster::keeper {
namespace {

using testing::HasSubstr;

bool is_root() {
  return ::geteuid() == 0;
}

std::string run_and_read(Server& server, Spawn spawn) {
  const auto spawned = server.call<Spawned>(std::move(spawn));
  std::string all = read_until(spawned.output.get(), "\nend\n");
  EXPECT_TRUE(server.next_exit());
  return all;
}

TEST(Spawn, OutputAndExitCodeComeBack) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  const auto spawned = server->call<Spawned>(shell("m", "echo out; echo err >&2; exit 3"));
  EXPECT_GT(spawned.pid, 0);
  EXPECT_TRUE(spawned.pidfd);
  const std::string output = read_until(spawned.output.get(), "err\n");
  EXPECT_EQ(output, "out\nerr\n");
  const auto exited = server->next_exit();
  ASSERT_TRUE(exited);
  EXPECT_EQ(exited->machine, "m");
  EXPECT_EQ(exited->pid, spawned.pid);
  EXPECT_EQ(exited->code, 3);
  EXPECT_EQ(exited->signal, 0);
}

TEST(Spawn, ExecFailureNamesTheErrnoAndTheStep) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  Spawn missing = shell("m", "");
  missing.argv = {"/nowhere/app"};
  const auto failed = server->call<SpawnFailed>(std::move(missing));
  EXPECT_EQ(failed.error, ENOENT);
  EXPECT_EQ(failed.step, SpawnStep::Exec);
  EXPECT_EQ(failed.text, "exec /nowhere/app: No such file or directory");
  Spawn not_executable = shell("m", "");
  const auto plain_file = keeper.directory() / "plain";
  std::ofstream(plain_file) << "text";
  not_executable.argv = {plain_file.string()};
  EXPECT_EQ(server->call<SpawnFailed>(std::move(not_executable)).error, EACCES);
  Spawn wrong_directory = shell("m", "exit 0");
  wrong_directory.cwd = "/nowhere";
  EXPECT_EQ(server->call<SpawnFailed>(std::move(wrong_directory)).step, SpawnStep::Directory);
  Spawn empty = shell("m", "");
  empty.argv.clear();
  EXPECT_EQ(server->call<SpawnFailed>(std::move(empty)).error, EINVAL);
  // A failed start leaves nothing: the id is free.
  server->call<Spawned>(shell("m", "exit 0"));
}

TEST(Spawn, CommandIsFoundByThePathOfItsOwnEnvironment) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  const auto script = keeper.directory() / "mycommand";
  std::ofstream(script) << "#!/bin/sh\necho found $1\n";
  std::filesystem::permissions(script, std::filesystem::perms(0755));
  Spawn spawn = shell("m", "");
  spawn.argv = {"mycommand", "arg"};
  spawn.env = {"PATH=/nowhere:" + keeper.directory().string()};
  const auto spawned = server->call<Spawned>(std::move(spawn));
  EXPECT_EQ(read_until(spawned.output.get(), "\n"), "found arg\n");
}

TEST(Spawn, EnvironmentIsExactlyWhatWasGiven) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  Spawn spawn = shell("m", "");
  spawn.argv = {"/usr/bin/env"};
  spawn.env = {"A=1", "B=x y"};
  const auto spawned = server->call<Spawned>(std::move(spawn));
  std::string expected = "A=1\nB=x y\n";
  if (spawned.cgroup.empty()) expected += "ROOSTER_INVOCATION=";
  EXPECT_EQ(read_until(spawned.output.get(), expected).substr(0, expected.size()), expected);
}

TEST(Spawn, ChildStartsClean) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  const std::string text = run_and_read(
      *server,
      shell("m",
            "echo fds $(ls /proc/self/fd); umask; pwd; ulimit -Sn; readlink /proc/self/fd/0;"
            "grep -E '^(Sig(Blk|Ign)|NoNewPrivs)' /proc/self/status;"
            "read -r a b c d pgrp sid rest < /proc/$$/stat;"
            "[ $pgrp = $$ ] && [ $sid = $$ ] && echo leader; echo end"));
  EXPECT_THAT(text, HasSubstr("fds 0 1 2 3\n"));  // 3 is ls's own directory
  EXPECT_THAT(text, HasSubstr("\n0022\n/\n1024\n/dev/null\n"));
  EXPECT_THAT(text, HasSubstr("SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"));
  EXPECT_THAT(text, HasSubstr("NoNewPrivs:\t1\n"));
  EXPECT_THAT(text, HasSubstr("leader\n"));
}

TEST(Spawn, RunsAsTheGivenUser) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  Spawn spawn = shell("m", "echo ids $(id -u) $(id -g) $(id -G); echo end");
  spawn.uid = 200123;
  const auto spawned = server->call<Spawned>(std::move(spawn));
  EXPECT_EQ(spawned.user_applied, is_root());
  const std::string text = read_until(spawned.output.get(), "end\n");
  if (is_root()) {
    EXPECT_THAT(text, HasSubstr("ids 200123 200123 200123\n"));
  }
}

TEST(Spawn, UserMayBeANameAndMustExist) {
  if (!is_root()) return;  // without root users are not applied, see RunsAsTheGivenUser
  KeeperRun keeper;
  auto server = keeper.accept_server();
  Spawn spawn = shell("m", "id -un");
  spawn.user = "nobody";
  const auto spawned = server->call<Spawned>(std::move(spawn));
  EXPECT_EQ(read_until(spawned.output.get(), "\n"), "nobody\n");
  Spawn unknown = shell("n", "");
  unknown.user = "no-such-user";
  const auto failed = server->call<SpawnFailed>(std::move(unknown));
  EXPECT_EQ(failed.step, SpawnStep::User);
  EXPECT_EQ(failed.text, "user no-such-user: no such user");
}

TEST(Spawn, ALargeEnvironmentGoesThrough) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  Spawn spawn = shell("m", "echo ${#BIG} ${#BIG2}");
  spawn.env.push_back("BIG=" + std::string(100'000, 'x'));
  spawn.env.push_back("BIG2=" + std::string(120'000, 'y'));
  const auto spawned = server->call<Spawned>(std::move(spawn));
  EXPECT_EQ(read_until(spawned.output.get(), "\n"), "100000 120000\n");
}

TEST(Spawn, TheSameMachineRunsOnlyOnce) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  server->call<Spawned>(shell("m", "sleep 100"));
  EXPECT_EQ(server->call<SpawnFailed>(shell("m", "sleep 100")).error, EEXIST);
}

TEST(Spawn, NotifySocketReachesTheServerWithTheSendersCredentials) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  Spawn spawn = shell("m", "");
  spawn.argv = {"/usr/bin/python3", "-c",
                "import os,socket;a=os.environ['NOTIFY_SOCKET'];"
                "socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM).sendto(b'READY=1','\\0'+a[1:])"};
  spawn.wants_notify = true;
  const auto spawned = server->call<Spawned>(std::move(spawn));
  ASSERT_TRUE(spawned.notify);
  char text[64] = {};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))] = {};
  iovec part = {.iov_base = text, .iov_len = sizeof text};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ASSERT_TRUE(eventually([&] { return ::recvmsg(spawned.notify.get(), &message, 0) > 0; }));
  EXPECT_STREQ(text, "READY=1");
  ASSERT_NE(CMSG_FIRSTHDR(&message), nullptr);
  ucred credentials = {};
  std::memcpy(&credentials, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof credentials);
  EXPECT_EQ(credentials.pid, spawned.pid);
}

TEST(Spawn, ManyAtOnceAllStartAndLeaveNoZombie) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  constexpr int kMany = 100;
  int started = 0;
  for (int i = 0; i < kMany; ++i)
    server->client().request(shell("m" + std::to_string(i), "(exit 0) & exit 0"), [&](Reply reply) {
      started += std::holds_alternative<Spawned>(reply);
    });
  for (int i = 0; i < kMany; ++i) ASSERT_TRUE(server->next_exit()) << i;
  EXPECT_EQ(started, kMany);
  EXPECT_TRUE(eventually([&] {
    const std::string children = "/proc/" + std::to_string(keeper.pid()) + "/task/" +
                                 std::to_string(keeper.pid()) + "/children";
    std::ifstream file(children);
    pid_t child = 0;
    int count = 0;
    while (file >> child) ++count;
    return count == 1;  // the server
  }));
}

}  // namespace
}  // namespace rooster::keeper
