#include "net/dial.hpp"

#include "net/fetch.hpp"
#include "net/listen.hpp"
#include "tests/net/serving.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

namespace rooster::net {
namespace {

using namespace std::chrono_literals;
using testing::port_of;

/// Runs `loop` until `group` is empty, at most five seconds.
void run(Loop& loop, const TaskGroup& group) {
  const auto end = Clock::now() + 5s;
  while (group.size() != 0 && Clock::now() < end) loop.run_for(10ms);
  EXPECT_EQ(group.size(), 0u);
}

Task<> dial_into(Endpoint to, TaskGroup& group, Duration time,
                 Result<std::unique_ptr<Stream>>& out) {
  Waiter waiter(group);
  out = co_await dial(to, waiter, waiter.loop().now() + time);
  co_return {};
}

Endpoint local(std::uint16_t port) {
  return {*IpAddress::parse("127.0.0.1"), port};
}

struct Dialling {
  Result<std::unique_ptr<Stream>> to(std::uint16_t port, Duration time) {
    Result<std::unique_ptr<Stream>> out = std::unexpected(Error(Fault::Internal));
    group.spawn(dial_into(local(port), group, time, out));
    run(loop, group);
    return out;
  }
  Loop loop;
  TaskGroup group{loop};
};

TEST(Dial, Connects) {
  const auto listener = listen_tcp("127.0.0.1", 0);
  Dialling dialling;
  const auto stream = dialling.to(port_of(*listener), 1s);
  ASSERT_TRUE(stream) << stream.error().detail;
  EXPECT_TRUE((*stream)->write("hello"));
}

Task<> dial_unix_into(std::string path, TaskGroup& group, Duration time,
                      Result<std::unique_ptr<Stream>>& out) {
  Waiter waiter(group);
  out = co_await dial_unix(std::move(path), waiter, Clock::now() + time);
  co_return {};
}

TEST(Dial, WaitsForAUnixSocketsBacklog) {
  const std::string path = "/tmp/rooster-dial-" + std::to_string(::getpid());
  auto listener = listen_unix(path, 0600);
  ASSERT_TRUE(listener) << listener.error().detail;
  ASSERT_EQ(::listen(listener->get(), 0), 0);  // one connection at a time
  Loop loop;
  TaskGroup group(loop);
  std::vector<Result<std::unique_ptr<Stream>>> out;
  out.push_back(std::unexpected(Error(Fault::Internal)));
  out.push_back(std::unexpected(Error(Fault::Internal)));
  group.spawn(dial_unix_into(path, group, 5s, out[0]));
  group.spawn(dial_unix_into(path, group, 5s, out[1]));
  loop.run_for(50ms);
  EXPECT_TRUE(out[0]);
  EXPECT_EQ(group.size(), 1u);  // it waits
  const Descriptor first(::accept(listener->get(), nullptr, nullptr));
  run(loop, group);
  EXPECT_TRUE(out[1]) << out[1].error().detail;
  ::unlink(path.c_str());
}

TEST(Dial, SaysThatNobodyListens) {
  std::uint16_t port = 0;
  {
    const auto listener = listen_tcp("127.0.0.1", 0);
    port = port_of(*listener);
  }
  Dialling dialling;
  const auto stream = dialling.to(port, 1s);
  ASSERT_FALSE(stream);
  EXPECT_EQ(stream.error().fault, Fault::UpstreamRefused);
  EXPECT_EQ(stream.error().reached, Reached::No);
  EXPECT_NE(stream.error().detail.find("127.0.0.1:" + std::to_string(port)), std::string::npos);
}

TEST(Dial, GivesUpAtItsDeadline) {
  const auto listener = listen_tcp("127.0.0.1", 0);
  ASSERT_EQ(::listen(listener->get(), 0), 0);
  Dialling dialling;
  // A full queue of a listener that does not accept: further SYNs are dropped.
  std::vector<Descriptor> queued;
  for (int i = 0; i < 4; ++i) queued.push_back(*start_connect(local(port_of(*listener))));
  const auto stream = dialling.to(port_of(*listener), 1ms);
  ASSERT_FALSE(stream);
  EXPECT_EQ(stream.error().fault, Fault::UpstreamConnectTimeout);
}

Task<HttpReply> hello(const HttpRequest& request, Waiter&) {
  co_return HttpReply::text("hello " + std::string(request.field("host")));
}

Task<> fetch_into(Endpoint to, TaskGroup& group, Result<HttpResponse>& out) {
  Waiter waiter(group);
  const auto deadline = waiter.loop().now() + 5s;
  const auto stream = co_await dial(to, waiter, deadline);
  if (!stream) co_return stream.error();
  out = co_await fetch(**stream, {}, "app.internal", waiter, deadline);
  co_return {};
}

TEST(Fetch, ReadsAWholeResponse) {
  auto listener = listen_tcp("127.0.0.1", 0);
  const std::uint16_t port = port_of(*listener);
  testing::Serving serving(std::move(*listener), hello);
  Loop loop;
  TaskGroup group(loop);
  Result<HttpResponse> response = std::unexpected(Error(Fault::Internal));
  group.spawn(fetch_into(local(port), group, response));
  run(loop, group);
  ASSERT_TRUE(response) << response.error().detail;
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->body, "hello app.internal");
}

}  // namespace
}  // namespace rooster::net
