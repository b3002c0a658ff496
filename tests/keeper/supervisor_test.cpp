// The server's life under the keeper: ends, crashes, signals; and what outlives it: listeners,
// stored descriptors.
#include "keeper/supervisor.hpp"

#include "tests/keeper/keeper_run.hpp"

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace rooster::keeper {
namespace {

using namespace std::chrono_literals;

ino_t inode_of(const Descriptor& descriptor) {
  struct stat about = {};
  EXPECT_EQ(::fstat(descriptor.get(), &about), 0);
  return about.st_ino;
}

Descriptor connect_to(std::uint16_t port) {
  Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return {};
  return socket;
}

Listen on_loopback(std::uint16_t port, std::uint16_t count) {
  return Listen{.name = "test", .host = "127.0.0.1", .port = port, .count = count};
}

TEST(Supervisor, ServersOrderlyEndStopsTheMachinesAndTheKeeper) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  const auto out = keeper.directory() / "stopped";
  const auto spawned = server->call<Spawned>(shell("m", "trap 'echo term > " + out.string() +
                                                            "; exit 0' TERM; echo up;"
                                                            "while :; do sleep 0.01; done"));
  read_until(spawned.output.get(), "up\n");
  server->call<Done>(Ready{});
  server->exit_with(0);
  EXPECT_EQ(keeper.wait_for_exit(), 0);
  EXPECT_EQ(wait_for_line(out), "term");
  EXPECT_FALSE(is_alive(spawned.pid));
}

TEST(Supervisor, StopSequenceEndsInAKill) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  Spawn spawn = shell("m", "trap '' TERM; echo up; while :; do sleep 0.01; done");
  spawn.kill_timeout = 50ms;
  const auto spawned = server->call<Spawned>(std::move(spawn));
  read_until(spawned.output.get(), "up\n");
  server->exit_with(0);
  EXPECT_EQ(keeper.wait_for_exit(), 0);
  EXPECT_FALSE(is_alive(spawned.pid));
}

TEST(Supervisor, AConfigurationErrorEndsTheKeeperWithItsCode) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  server->exit_with(2);
  EXPECT_EQ(keeper.wait_for_exit(), 2);
}

TEST(Supervisor, AnErrorAfterReadyIsACrash) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  server->call<Done>(Ready{});
  server->exit_with(1);
  EXPECT_EQ(keeper.accept_server()->call<Welcome>(Hello{}).generation, 2U);
}

TEST(Supervisor, TooManyCrashesStopTheMachinesAndEndTheKeeper) {
  KeeperRun keeper([](KeeperOptions& options) { options.max_crashes = 3; });
  pid_t machine = 0;
  for (int i = 0; i < 3; ++i) {
    auto server = keeper.accept_server();
    if (i == 0) machine = server->call<Spawned>(shell("m", "exec sleep 1000")).pid;
    ::kill(server->pid(), SIGKILL);
  }
  EXPECT_EQ(keeper.wait_for_exit(), 1);
  EXPECT_FALSE(is_alive(machine));
}

TEST(Supervisor, MachinesWithoutAServerAreStoppedAfterTheGrace) {
  KeeperRun keeper([](KeeperOptions& options) {
    options.restarts_server = false;
    options.orphan_grace = 150ms;
  });
  auto server = keeper.accept_server();
  const pid_t machine = server->call<Spawned>(shell("m", "exec sleep 1000")).pid;
  const TimePoint killed = Clock::now();
  ::kill(server->pid(), SIGKILL);
  EXPECT_TRUE(eventually([&] { return !is_alive(machine); }));
  EXPECT_GE(Clock::now() - killed, 150ms);
  EXPECT_EQ(keeper.wait_for_exit(), 1);
}

TEST(Supervisor, AServerMayAskForASuccessor) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  const pid_t machine = server->call<Spawned>(shell("m", "exec sleep 1000")).pid;
  server->call<Done>(Ready{});
  server->call<Done>(KeepMachines{.keep = true});
  server->exit_with(0);
  auto successor = keeper.accept_server();
  const auto machines = successor->list();
  ASSERT_EQ(machines.size(), 1U);
  EXPECT_EQ(machines.front().process.pid, machine);
}

TEST(Supervisor, SigtermIsForwardedAndTheServersCodeReturned) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  const pid_t machine = server->call<Spawned>(shell("m", "exec sleep 1000")).pid;
  keeper.signal(SIGTERM);
  EXPECT_EQ(keeper.wait_for_exit(), 7);  // what the test server answers to SIGTERM
  EXPECT_FALSE(is_alive(machine));
}

TEST(Supervisor, SecondSigtermDoesNotWaitForAHangingServer) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  const pid_t machine = server->call<Spawned>(shell("m", "trap '' TERM; sleep 1000")).pid;
  ::kill(server->pid(), SIGSTOP);
  keeper.signal(SIGTERM);
  keeper.signal(SIGINT);
  EXPECT_TRUE(keeper.wait_for_exit());
  EXPECT_FALSE(is_alive(machine));
}

TEST(Supervisor, SighupIsForwarded) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  keeper.signal(SIGHUP);
  EXPECT_TRUE(server->got_hangup());
}

TEST(Supervisor, TwoKeepersCannotShareADataDirectory) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  KeeperRun second([&](KeeperOptions& options) { options.data_dir = keeper.directory() / "data"; });
  EXPECT_EQ(second.wait_for_exit(), 1);
  EXPECT_TRUE(is_alive(server->pid()));
}

TEST(Supervisor, AServerThatCannotBeExecutedEndsTheKeeper) {
  KeeperRun keeper([](KeeperOptions& options) { options.server_path = "/nowhere/rooster"; });
  EXPECT_EQ(keeper.wait_for_exit(), 126);
}

TEST(Supervisor, AnUnintelligibleRequestIsAnsweredAndSurvived) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  // A request of no known version, as a future server would send it.
  const Reply reply = server->client().call(Listen{.name = "", .host = "", .count = 0});
  const auto* failed = std::get_if<Failed>(&reply);
  ASSERT_NE(failed, nullptr);
  EXPECT_EQ(failed->error, EPROTO);
  server->call<Welcome>(Hello{});
}

TEST(Listeners, ASuccessorGetsTheSameSocketsWithTheirQueues) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  const auto first = server->call<Listening>(on_loopback(0, 2));
  ASSERT_EQ(first.sockets.size(), 2U);
  ASSERT_NE(first.port, 0);
  const Descriptor queued = connect_to(first.port);
  ASSERT_TRUE(queued);
  ::kill(server->pid(), SIGKILL);
  auto successor = keeper.accept_server();
  const auto second = successor->call<Listening>(on_loopback(0, 2));
  EXPECT_EQ(second.port, first.port);
  ASSERT_EQ(second.sockets.size(), 2U);
  EXPECT_EQ(inode_of(first.sockets[0]), inode_of(second.sockets[0]));
  EXPECT_EQ(inode_of(first.sockets[1]), inode_of(second.sockets[1]));
  EXPECT_TRUE(eventually([&] {
    return ::accept(second.sockets[0].get(), nullptr, nullptr) >= 0 ||
           ::accept(second.sockets[1].get(), nullptr, nullptr) >= 0;
  }));
}

TEST(Listeners, MoreAreAddedAndNoneTakenAway) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  const auto two = server->call<Listening>(on_loopback(0, 2));
  EXPECT_EQ(server->call<Listening>(on_loopback(0, 4)).sockets.size(), 4U);
  EXPECT_EQ(server->call<Listening>(on_loopback(0, 1)).sockets.size(), 4U);
  EXPECT_EQ(server->call<Listening>(on_loopback(0, 1)).port, two.port);
}

TEST(Listeners, APortInUseIsRefusedThoughItsOwnerSharesIt) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  const Descriptor other(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(other.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(other.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(other.get(), 1), 0);
  ASSERT_EQ(::getsockname(other.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  const std::uint16_t port = ntohs(address.sin_port);
  EXPECT_EQ(server->call<Failed>(on_loopback(port, 1)).error, EADDRINUSE);
}

TEST(Listeners, AnEmptyHostTakesBothFamilies) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  const auto all = server->call<Listening>(Listen{.name = "all", .host = ""});
  EXPECT_TRUE(connect_to(all.port));
}

TEST(Listeners, WhatIsNoAddressIsRefused) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  EXPECT_EQ(server->call<Failed>(Listen{.name = "", .host = "localhost"}).error, EINVAL);
}

TEST(Listeners, UnlistenFreesThePort) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  std::uint16_t port = 0;
  {
    const auto listening = server->call<Listening>(on_loopback(0, 1));
    port = listening.port;
  }
  server->call<Done>(Unlisten{.name = "test", .host = "127.0.0.1", .port = 0});
  EXPECT_FALSE(connect_to(port));
  EXPECT_EQ(server->call<Failed>(Unlisten{.name = "test", .host = "127.0.0.1"}).error, ENOENT);
}

TEST(Supervisor, StoredDescriptorsOutliveTheServer) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  EXPECT_EQ(server->call<Failed>(Fetch{.name = "keys"}).error, ENOENT);
  Descriptor memory(::memfd_create("keys", MFD_CLOEXEC));
  ASSERT_EQ(::write(memory.get(), "secret", 6), 6);
  server->call<Done>(Store{.name = "keys", .descriptor = std::move(memory)});
  ::kill(server->pid(), SIGKILL);
  auto successor = keeper.accept_server();
  const auto fetched = successor->call<Fetched>(Fetch{.name = "keys"});
  char text[7] = {};
  EXPECT_EQ(::pread(fetched.descriptor.get(), text, 6, 0), 6);
  EXPECT_STREQ(text, "secret");
}

TEST(Client, OutstandingRequestsFailWhenTheKeeperIsGone) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  bool closed = false;
  server->client().set_on_closed([&] { closed = true; });
  ::kill(keeper.pid(), SIGSTOP);
  std::optional<std::int32_t> error;
  server->client().request(Hello{}, [&](Reply reply) { error = std::get<Failed>(reply).error; });
  ::kill(keeper.pid(), SIGKILL);
  ASSERT_TRUE(eventually([&] {
    server->client().on_readable();
    return closed;
  }));
  EXPECT_EQ(error, EPIPE);
  EXPECT_FALSE(server->client().is_open());
  EXPECT_EQ(std::get<Failed>(server->client().call(Hello{})).error, EPIPE);
}

TEST(Client, NeverBlocksHoweverManyRequests) {
  KeeperRun keeper;
  auto server = keeper.accept_server();
  ::kill(keeper.pid(), SIGSTOP);
  std::size_t refused = 0;
  std::size_t answered = 0;
  for (std::size_t i = 0; i < keeper::Client::kMaxPending + 10; ++i)
    server->client().request(Hello{}, [&](Reply reply) {
      std::holds_alternative<Welcome>(reply) ? ++answered : ++refused;
    });
  EXPECT_EQ(refused, 10U);
  EXPECT_TRUE(server->client().wants_write());
  ::kill(keeper.pid(), SIGCONT);
  EXPECT_TRUE(eventually([&] {
    server->client().on_readable();
    return answered == keeper::Client::kMaxPending;
  }));
}

}  // namespace
}  // namespace rooster::keeper
