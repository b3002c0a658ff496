// When a starting machine counts as listening, and what is said where it does not.
#include "machines/readiness.hpp"

#include "keeper/process_tree.hpp"
#include "tests/machines/child.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

namespace rooster::machines {
namespace {

using apps::Child;
using apps::free_port;
using apps::listen_on;
using ::testing::HasSubstr;

const MachineId kMachine{"m1"};
constexpr std::uint16_t kPort = 8000;

ListeningSocket at(const char* address, std::uint16_t port, std::uint64_t inode) {
  return {.address = *IpAddress::parse(address), .port = port, .inode = inode};
}

TEST(JudgeListeners, KnowsItsOwnFromAnothersAndTheRightPlaceFromTheWrong) {
  struct Case {
    const char* what;
    std::vector<ListeningSocket> sockets;
    bool is_listening;
    Fault fault;
    const char* detail;
  };
  const OwnSockets own{.inodes = {1, 2}};
  const Case cases[] = {
      {"nothing listens", {}, false, Fault::None, ""},
      {"its own", {at("127.0.0.1", kPort, 1)}, true, Fault::None, ""},
      {"its own, on every address", {at("::", kPort, 2)}, true, Fault::None, ""},
      {"another's", {at("0.0.0.0", kPort, 9)}, false, Fault::PortTaken, "held by another process"},
      {"another's, out of reach", {at("127.0.0.9", kPort, 9)}, false, Fault::None, ""},
      {"its own beside another's",
       {at("0.0.0.0", kPort, 9), at("127.0.0.1", kPort, 1)},
       true,
       Fault::None,
       ""},
      {"its own, on another port",
       {at("127.0.0.1", 8001, 1)},
       false,
       Fault::ListensElsewhere,
       "on 127.0.0.1:8001, not on port 8000"},
      {"its own, on another address",
       {at("10.0.0.1", kPort, 1)},
       false,
       Fault::ListensElsewhere,
       "on 10.0.0.1:8000 only"},
      {"the address says more than a side port",
       {at("127.0.0.1", 9090, 2), at("::1", kPort, 1)},
       false,
       Fault::ListensElsewhere,
       "[::1]:8000 only"},
      {"others elsewhere say nothing", {at("0.0.0.0", 22, 9)}, false, Fault::None, ""},
  };
  for (const Case& one : cases) {
    const ListenVerdict verdict = judge_listeners(kPort, one.sockets, own);
    EXPECT_EQ(verdict.is_listening, one.is_listening) << one.what;
    EXPECT_EQ(verdict.fault, one.fault) << one.what;
    EXPECT_THAT(verdict.detail, HasSubstr(one.detail)) << one.what;
  }
}

TEST(JudgeListeners, TakesTheUserWhereDescriptorsAreHidden) {
  ListeningSocket socket = at("0.0.0.0", kPort, 7);
  socket.uid = 200'001;
  EXPECT_TRUE(judge_listeners(kPort, {socket}, {.hidden_users = {200'001}}).is_listening);
  EXPECT_EQ(judge_listeners(kPort, {socket}, {.hidden_users = {200'002}}).fault, Fault::PortTaken);
}

class ReadinessTest : public ::testing::Test {
 protected:
  ProcessTree tree_of(const Child& child) const {
    return {.pid = child.pid(), .start_time = child.start_time(), .cgroup = ""};
  }
  template <class Condition>
  bool run_until(Condition condition) {
    const TimePoint end = Clock::now() + std::chrono::seconds(10);
    while (!condition() && Clock::now() < end) loop.run_for(std::chrono::milliseconds(5));
    return condition();
  }

  Loop loop;
  std::optional<TimePoint> listening;
  Fault diagnosis = Fault::None;
  std::string detail;
  Readiness readiness{loop,
                      {.listening =
                           [this](const MachineId& id) {
                             EXPECT_EQ(id, kMachine);
                             EXPECT_FALSE(listening);
                             listening = Clock::now();
                           },
                       .diagnosed =
                           [this](const MachineId&, Fault fault, std::string text) {
                             diagnosis = fault;
                             detail = std::move(text);
                           }},
                      [](const OwnSocketsQuestion& question, const auto& answer) {
                        const bool is_whole = question.reach == OwnSocketsQuestion::Reach::Whole;
                        answer(is_whole ? keeper::sockets_of(question.tree)
                                        : keeper::sockets_of_leader(question.tree));
                      }};
};

TEST_F(ReadinessTest, SeesAMachineThatListensLate) {
  const std::uint16_t port = free_port();
  Child child({"--listen", std::to_string(port), "150"});
  readiness.watch(kMachine, tree_of(child), port);
  ASSERT_TRUE(run_until([this] { return listening.has_value(); }));
  const auto stamp = child.wait_for("listen");
  const double late_ms = static_cast<double>(listening->time_since_epoch().count() -
                                             static_cast<std::int64_t>(stamp)) /
                         1e6;
  std::printf("detection latency: %.2f ms after the app's own stamp\n", late_ms);
  EXPECT_EQ(diagnosis, Fault::None);
}

// Its server is in a session of its own and nobody's child: without a cgroup only the mark that the
// keeper gave the machine ties it to it.
TEST_F(ReadinessTest, KnowsADaemonByTheKeepersMark) {
  const std::uint16_t port = free_port();
  ::setenv(keeper::kInvocationVariable, "1-2-3", 1);
  Child child({"--daemon", std::to_string(port), "0"});
  ::unsetenv(keeper::kInvocationVariable);
  child.wait_for("pid");
  child.wait_for("listen");
  readiness.watch(kMachine, tree_of(child), port);
  EXPECT_TRUE(run_until([this] { return listening.has_value(); })) << detail;
}

TEST_F(ReadinessTest, DoesNotTakeAStraysListenerForTheMachines) {
  const std::uint16_t port = free_port();
  Child child({"--daemon", std::to_string(port), "0"});
  child.wait_for("pid");
  child.wait_for("listen");
  readiness.watch(kMachine, tree_of(child), port);
  ASSERT_TRUE(run_until([this] { return diagnosis != Fault::None || listening; }));
  EXPECT_EQ(diagnosis, Fault::PortTaken);
}

TEST_F(ReadinessTest, SaysThatItListensOnTheWrongPort) {
  const std::uint16_t wanted = free_port();
  const std::uint16_t wrong = free_port();
  Child child({"--listen", std::to_string(wrong), "0"});
  readiness.watch(kMachine, tree_of(child), wanted);
  ASSERT_TRUE(run_until([this] { return diagnosis != Fault::None; }));
  EXPECT_EQ(diagnosis, Fault::ListensElsewhere);
  EXPECT_THAT(detail, HasSubstr("127.0.0.1:" + std::to_string(wrong)));
  EXPECT_FALSE(listening);
}

TEST_F(ReadinessTest, DoesNotTakeAnothersListenerForTheMachines) {
  const Descriptor other = listen_on("0.0.0.0");
  const std::uint16_t port = apps::port_of(other);
  Child child({"--listen", std::to_string(free_port()), "60000"});
  child.wait_for("pid");  // until it has executed, it holds this program's sockets too
  readiness.watch(kMachine, tree_of(child), port);
  ASSERT_TRUE(run_until([this] { return diagnosis != Fault::None; }));
  EXPECT_EQ(diagnosis, Fault::PortTaken);
  EXPECT_FALSE(listening);
}

TEST_F(ReadinessTest, SaysNothingOfAForgottenMachine) {
  const std::uint16_t port = free_port();
  Child child({"--listen", std::to_string(port), "0"});
  child.wait_for("listen");
  readiness.watch(kMachine, tree_of(child), port);
  readiness.forget(kMachine);
  for (int turn = 0; turn < 20; ++turn) loop.run_for(std::chrono::milliseconds(1));
  EXPECT_FALSE(listening);
}

}  // namespace
}  // namespace rooster::machines
