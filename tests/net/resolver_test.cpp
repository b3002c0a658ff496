#include "net/resolver.hpp"

#include "core/address.hpp"
#include "tests/net/serving.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <thread>

#include <poll.h>
#include <sys/socket.h>

namespace rooster::net {
namespace {

using namespace std::chrono_literals;

/// A name server on loopback: every name has 127.0.0.7 and ::7; names that begin with "none" don't
/// exist, and those that begin with "mute" get no answer.
class FakeNameServer {
 public:
  FakeNameServer() : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_storage address{};
    const socklen_t size = Endpoint{*IpAddress::parse("127.0.0.1"), 0}.to(address);
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(testing::port_of(socket_)); }
  int questions() const { return questions_; }
  void fail(bool on) { failing_ = on; }

 private:
  void run(const std::stop_token& stop) {
    std::array<char, 512> block;
    pollfd wanted{socket_.get(), POLLIN, 0};
    while (!stop.stop_requested()) {
      if (::poll(&wanted, 1, 20) <= 0) continue;
      sockaddr_storage from{};
      socklen_t size = sizeof from;
      const ssize_t got = ::recvfrom(socket_.get(), block.data(), block.size(), 0,
                                     reinterpret_cast<sockaddr*>(&from), &size);
      if (got < 17) continue;
      ++questions_;
      const std::string reply = answer({block.data(), static_cast<std::size_t>(got)});
      if (reply.empty()) continue;
      (void)::sendto(socket_.get(), reply.data(), reply.size(), 0,
                     reinterpret_cast<sockaddr*>(&from), size);
    }
  }
  // Header, the question as it came, one record that points back at the question's name.
  std::string answer(const std::string& query) const {
    const std::string first = query.substr(13, static_cast<std::size_t>(query[12]));
    if (first.starts_with("mute")) return {};
    const auto name_end = query.find('\0', 12);
    const std::string question = query.substr(12, name_end + 5 - 12);
    const bool v6 = question[question.size() - 3] == 28;
    const bool none = failing_ || first.starts_with("none");
    std::string reply = query.substr(0, 2);
    reply += std::string("\x81\x80", 2).substr(0, 1) + static_cast<char>(none ? 0x83 : 0x80);
    reply += std::string("\0\1\0", 3) + static_cast<char>(none ? 0 : 1) + std::string(4, '\0');
    reply += question;
    if (none) return reply;
    reply += std::string("\xc0\x0c\0", 3) + static_cast<char>(v6 ? 28 : 1);
    reply += std::string("\0\1\0\0\0\x14\0", 7) + static_cast<char>(v6 ? 16 : 4);
    reply += v6 ? std::string(15, '\0') + '\7' : std::string("\x7f\0\0\7", 4);
    return reply;
  }

  Descriptor socket_;
  std::atomic<int> questions_ = 0;
  std::atomic<bool> failing_ = false;
  std::jthread thread_;
};

Task<> resolve_into(Resolver& resolver, std::string name, TaskGroup& group, Duration time,
                    Result<Resolved>& out) {
  Waiter waiter(group);
  out = co_await resolver.resolve(std::move(name), waiter, waiter.loop().now() + time);
  co_return {};
}

class ResolverTest : public ::testing::Test {
 protected:
  ResolverOptions options() const { return {.servers = server.address(), .try_time = 500ms}; }
  Result<Resolved> resolve(Resolver& resolver, const std::string& name, Duration time = 4s) {
    Result<Resolved> out = std::unexpected(Error(Fault::Internal));
    group.spawn(resolve_into(resolver, name, group, time, out));
    run();
    return out;
  }
  void run() {
    const auto end = Clock::now() + 5s;
    while (group.size() != 0 && Clock::now() < end) loop.run_for(10ms);
    EXPECT_EQ(group.size(), 0u);
  }
  FakeNameServer server;
  Loop loop;
  TaskGroup group{loop};
};

TEST_F(ResolverTest, GivesBothFamiliesForTheirTimeToLive) {
  Resolver resolver(loop, options());
  const auto found = resolve(resolver, "app.example.");
  ASSERT_TRUE(found) << found.error().detail;
  std::vector<std::string> texts;
  for (const auto& address : found->addresses) texts.push_back(address.to_string());
  std::ranges::sort(texts);
  EXPECT_EQ(texts, (std::vector<std::string>{"127.0.0.7", "::7"}));
  EXPECT_GT(found->fresh_until - loop.now(), 15s);
  EXPECT_LE(found->fresh_until - loop.now(), 20s);
  EXPECT_FALSE(found->stale);
}

TEST_F(ResolverTest, AsksOnceForManyAndThenFromItsCache) {
  Resolver resolver(loop, options());
  std::array<Result<Resolved>, 3> outs = {std::unexpected(Error(Fault::Internal)),
                                          std::unexpected(Error(Fault::Internal)),
                                          std::unexpected(Error(Fault::Internal))};
  for (auto& out : outs) group.spawn(resolve_into(resolver, "app.example.", group, 4s, out));
  run();
  for (const auto& out : outs) EXPECT_TRUE(out);
  EXPECT_TRUE(resolve(resolver, "app.example."));
  EXPECT_EQ(server.questions(), 2);  // A and AAAA
}

TEST_F(ResolverTest, NamesBelowLocalhostNeverLeaveTheHost) {
  Resolver resolver(loop, options());
  const auto found = resolve(resolver, "rooster.app.localhost");
  ASSERT_TRUE(found);
  ASSERT_FALSE(found->addresses.empty());
  EXPECT_EQ(found->addresses.front().to_string(), "127.0.0.1");
  EXPECT_EQ(server.questions(), 0);
}

TEST_F(ResolverTest, KeepsTheLastGoodAnswer) {
  auto wanted = options();
  wanted.min_life = 0s;
  wanted.max_life = 0s;
  Resolver resolver(loop, wanted);
  const auto good = resolve(resolver, "app.example.");
  ASSERT_TRUE(good) << good.error().detail;
  server.fail(true);
  const auto later = resolve(resolver, "app.example.");
  ASSERT_TRUE(later) << later.error().detail;
  EXPECT_TRUE(later->stale);
  EXPECT_EQ(later->addresses, good->addresses);
}

TEST_F(ResolverTest, SaysThatANameDoesNotExistAndDoesNotAskAgainAtOnce) {
  Resolver resolver(loop, options());
  const auto found = resolve(resolver, "none.example.");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().fault, Fault::UpstreamUnresolved);
  EXPECT_NE(found.error().detail.find("none.example."), std::string::npos);
  const int questions = server.questions();
  EXPECT_FALSE(resolve(resolver, "none.example."));
  EXPECT_EQ(server.questions(), questions);
}

TEST_F(ResolverTest, LeavesAtTheDeadlineWhileTheLookupGoesOn) {
  Resolver resolver(loop, options());
  const auto found = resolve(resolver, "mute.example.", 1ms);
  ASSERT_FALSE(found);
  EXPECT_NE(found.error().detail.find("no answer in time"), std::string::npos);
}

TEST_F(ResolverTest, TakesAnAddressAsItsOwnAnswer) {
  Resolver resolver(loop, options());
  const auto found = resolve(resolver, "::1");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->addresses.front().to_string(), "::1");
  EXPECT_EQ(server.questions(), 0);
}

}  // namespace
}  // namespace rooster::net
