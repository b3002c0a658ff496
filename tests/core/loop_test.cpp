#include "core/loop.hpp"

#include "core/limits.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

namespace rooster {
namespace {

using namespace std::chrono_literals;

struct Pair {
  explicit Pair(Loop& loop) {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    ours.emplace(loop, Descriptor(fds[0]));
    theirs = Descriptor(fds[1]);
  }
  std::optional<Pollable> ours;
  Descriptor theirs;
};

// Runs the loop until `done`, at most five seconds.
template <class Done>
bool run_until(Loop& loop, Done done) {
  const TimePoint end = Clock::now() + 5s;
  while (!done() && Clock::now() < end) loop.run_for(20ms);
  return done();
}

Task<> wait_once(Waiter& waiter, TimePoint deadline, Interest interest, std::vector<Woke>& out) {
  out.push_back(co_await waiter.wait(deadline, interest));
  co_return {};
}

Task<int> answer() {
  co_return 42;
}
Task<int> failing() {
  co_return Error(Fault::NoRoute, "nowhere");
}
Task<> add_both(std::vector<int>& out) {
  auto good = co_await answer();
  out.push_back(*good);
  auto bad = co_await failing();
  out.push_back(bad ? 0 : 1);
  co_return {};
}

TEST(Task, YieldsAResultOrAnError) {
  Loop loop;
  TaskGroup group(loop);
  std::vector<int> out;
  group.spawn(add_both(out));
  EXPECT_EQ(out, (std::vector<int>{42, 1}));
  EXPECT_EQ(group.size(), 0u);
}

// Without optimisation, or under a sanitizer, a symmetric transfer is a plain call: the chain is
// shorter there.
#if defined(__OPTIMIZE__) && !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
constexpr int kDepth = 20000;
#else
constexpr int kDepth = 500;
#endif

Task<int> deep(int depth) {
  if (depth == 0) co_return 0;
  auto below = co_await deep(depth - 1);
  co_return *below + 1;
}
Task<> run_deep(int& out) {
  auto got = co_await deep(kDepth);
  out = *got;
  co_return {};
}

TEST(Task, DeepChainsEndWithoutEatingTheStack) {
  Loop loop;
  TaskGroup group(loop);
  int out = 0;
  group.spawn(run_deep(out));
  EXPECT_EQ(out, kDepth);
}

TEST(Waiter, WakesWhenTheDescriptorIsReadable) {
  Loop loop;
  TaskGroup group(loop);
  Pair pair(loop);
  Waiter waiter(group);
  std::vector<Woke> woke;
  group.spawn(wait_once(waiter, kNever, {&*pair.ours, Pollable::kReadable}, woke));
  loop.run_for(1ms);
  EXPECT_TRUE(woke.empty());
  EXPECT_EQ(write(pair.theirs.get(), "x", 1), 1);
  EXPECT_TRUE(run_until(loop, [&] { return !woke.empty(); }));
  EXPECT_EQ(woke, std::vector{Woke::Ready});
  EXPECT_TRUE(pair.ours->is(Pollable::kReadable));
}

TEST(Waiter, DoesNotSuspendWhenReadyAlready) {
  Loop loop;
  TaskGroup group(loop);
  Pair pair(loop);
  Waiter waiter(group);
  std::vector<Woke> woke;
  group.spawn(wait_once(waiter, kNever, {&*pair.ours, Pollable::kWritable}, woke));
  EXPECT_EQ(woke, std::vector{Woke::Ready});
}

TEST(Waiter, TheDeadlineNeverComesEarly) {
  Loop loop;
  TaskGroup group(loop);
  Waiter waiter(group);
  std::vector<Woke> woke;
  const TimePoint deadline = Clock::now() + 150ms;
  group.spawn(wait_once(waiter, deadline, {}, woke));
  EXPECT_TRUE(run_until(loop, [&] { return !woke.empty(); }));
  EXPECT_EQ(woke, std::vector{Woke::Deadline});
  EXPECT_GE(Clock::now(), deadline);
}

Task<> wait_twice(Waiter& waiter, TimePoint first, TimePoint second, std::vector<Woke>& out) {
  {
    DeadlineScope scope(waiter, first);
    out.push_back(co_await waiter.wait(kNever));
  }
  out.push_back(co_await waiter.wait(second));
  co_return {};
}

TEST(DeadlineScope, BoundsEveryWaitInsideIt) {
  Loop loop;
  TaskGroup group(loop);
  Waiter waiter(group);
  std::vector<Woke> woke;
  group.spawn(wait_twice(waiter, Clock::now() + 10ms, Clock::now() + 20ms, woke));
  EXPECT_TRUE(run_until(loop, [&] { return woke.size() == 2; }));
  EXPECT_EQ(woke, (std::vector{Woke::Deadline, Woke::Deadline}));
}

TEST(Waiter, ANotificationIsKeptForTheNextWait) {
  Loop loop;
  TaskGroup group(loop);
  Waiter waiter(group);
  waiter.notify();
  std::vector<Woke> woke;
  group.spawn(wait_once(waiter, kNever, {}, woke));
  EXPECT_TRUE(run_until(loop, [&] { return !woke.empty(); }));
  EXPECT_EQ(woke, std::vector{Woke::Notified});
  group.spawn(wait_once(waiter, kNever, {}, woke));
  EXPECT_EQ(woke.size(), 1u);
  waiter.notify();
  EXPECT_EQ(woke.size(), 1u) << "never inside the call";
  EXPECT_TRUE(run_until(loop, [&] { return woke.size() == 2; }));
}

Task<> go_on(Waiter& waiter, Interest interest, const bool& enough, int& turns) {
  while (!enough && ++turns < 1000) {
    waiter.notify();
    co_await waiter.wait(kNever, interest);
  }
  co_return {};
}

Task<> say_once(Waiter& waiter, Interest interest, bool& said) {
  co_await waiter.wait(kNever, interest);
  said = true;
  co_return {};
}

TEST(Waiter, WhoNotifiesItselfLetsTheOthersIn) {
  Loop loop;
  TaskGroup group(loop);
  Pair busy(loop);
  Pair other(loop);
  Waiter busy_waiter(group);
  Waiter other_waiter(group);
  bool said = false;
  int turns = 0;
  group.spawn(say_once(other_waiter, {&*other.ours, Pollable::kReadable}, said));
  EXPECT_EQ(write(other.theirs.get(), "x", 1), 1);
  group.spawn(go_on(busy_waiter, {&*busy.ours, Pollable::kWritable}, said, turns));
  EXPECT_TRUE(run_until(loop, [&] { return group.size() == 0; }));
  EXPECT_TRUE(said);
  EXPECT_LT(turns, 10);
}

TEST(Waiter, AnInterruptionEndsThisWaitAndTheNext) {
  Loop loop;
  TaskGroup group(loop);
  Waiter waiter(group);
  std::vector<Woke> woke;
  group.spawn(wait_once(waiter, kNever, {}, woke));
  group.interrupt_all(Fault::Draining);
  EXPECT_TRUE(run_until(loop, [&] { return !woke.empty(); }));
  group.spawn(wait_once(waiter, kNever, {}, woke));
  EXPECT_EQ(woke, (std::vector{Woke::Interrupted, Woke::Interrupted}));
  EXPECT_EQ(waiter.interrupted_by(), Fault::Draining);
}

// Every order of up to four events: whatever comes together, the frame is resumed once and ends.
TEST(Waiter, AnyInterleavingOfEventsResumesOnce) {
  enum Event { Byte, Notify, Interrupt, Close };
  for (int code = 0; code < 256; ++code) {
    Loop loop;
    TaskGroup group(loop);
    Pair pair(loop);
    Waiter waiter(group);
    std::vector<Woke> woke;
    group.spawn(wait_once(waiter, Clock::now() + 200ms, {&*pair.ours, Pollable::kReadable}, woke));
    for (int step = 0, rest = code; step < 4; ++step, rest /= 4) {
      switch (static_cast<Event>(rest % 4)) {
        case Byte:
          (void)!write(pair.theirs.get(), "x", 1);
          break;
        case Notify:
          waiter.notify();
          break;
        case Interrupt:
          waiter.interrupt(Fault::Interrupted);
          break;
        case Close:
          pair.theirs.reset();
          break;
      }
      if (step == 1) loop.run_for(0ms);
    }
    ASSERT_TRUE(run_until(loop, [&] { return !woke.empty(); })) << code;
    ASSERT_EQ(woke.size(), 1u) << code;
    ASSERT_EQ(group.size(), 0u) << code;
  }
}

Task<> close_other(Waiter& waiter, Pollable& mine, std::optional<Pollable>& other, int& resumed) {
  co_await waiter.wait(kNever, {&mine, Pollable::kReadable});
  ++resumed;
  other.reset();
  co_return {};
}

TEST(Pollable, MayBeDestroyedInsideTheBatchThatReportsIt) {
  Loop loop;
  TaskGroup group(loop);
  Pair first(loop);
  Pair second(loop);
  Waiter waiter(group);
  int resumed = 0;
  group.spawn(close_other(waiter, *first.ours, second.ours, resumed));
  EXPECT_EQ(write(first.theirs.get(), "x", 1), 1);
  EXPECT_EQ(write(second.theirs.get(), "x", 1), 1);
  EXPECT_TRUE(run_until(loop, [&] { return resumed == 1; }));
  loop.run_for(1ms);
}

TEST(Loop, PostsRunOnItsThread) {
  Loop loop;
  std::thread::id ran;
  std::thread thread([&] { loop.run(); });
  const std::thread::id expected = thread.get_id();
  loop.post([&] {
    ran = std::this_thread::get_id();
    loop.stop();
  });
  thread.join();
  EXPECT_EQ(ran, expected);
}

TEST(Loop, TheDataPathRunsPostsDescriptorsAndDeadlines) {
  Loop loop;
  TaskGroup group(loop);
  Pair pair(loop);
  Waiter reader(group);
  Waiter sleeper(group);
  std::vector<Woke> read_woke;
  std::vector<Woke> sleep_woke;
  bool fired = false;
  Timer timer(loop, [&] { fired = true; });
  std::thread thread([&] { loop.run_data_path(); });
  loop.post([&] {
    timer.set(Clock::now() + 1ms);
    group.spawn(wait_once(reader, kNever, {&*pair.ours, Pollable::kReadable}, read_woke));
    group.spawn(wait_once(sleeper, loop.now() + 250ms, {}, sleep_woke));
    group.when_empty([&] { loop.stop(); });
    (void)!write(pair.theirs.get(), "x", 1);
  });
  thread.join();
  EXPECT_EQ(read_woke, std::vector{Woke::Ready});
  EXPECT_EQ(sleep_woke, std::vector{Woke::Deadline});
  EXPECT_TRUE(fired);
}

TEST(Timer, FiresOnceAtItsTimeAndCanBeMoved) {
  Loop loop;
  int fired = 0;
  Timer timer(loop, [&] { ++fired; });
  timer.set(Clock::now() + 1h);
  timer.set(Clock::now() + 5ms);
  EXPECT_TRUE(run_until(loop, [&] { return fired == 1; }));
  timer.set(Clock::now() + 5ms);
  timer.cancel();
  loop.run_for(20ms);
  EXPECT_EQ(fired, 1);
}

TEST(Watch, CallsWhileReadableAndStopsWhenDestroyed) {
  Loop loop;
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  Descriptor read_end(fds[0]);
  Descriptor write_end(fds[1]);
  int calls = 0;
  auto watch = std::make_unique<Watch>(loop, read_end.get(), [&] {
    char byte;
    (void)!read(read_end.get(), &byte, 1);
    ++calls;
  });
  ASSERT_EQ(write(write_end.get(), "ab", 2), 2);
  EXPECT_TRUE(run_until(loop, [&] { return calls == 2; }));
  watch.reset();
  ASSERT_EQ(write(write_end.get(), "c", 1), 1);
  loop.run_for(10ms);
  EXPECT_EQ(calls, 2);
}

TEST(TaskGroup, SaysWhenItIsEmpty) {
  Loop loop;
  TaskGroup group(loop);
  Waiter waiter(group);
  std::vector<Woke> woke;
  bool empty = false;
  group.spawn(wait_once(waiter, kNever, {}, woke));
  group.when_empty([&] { empty = true; });
  loop.run_for(1ms);
  EXPECT_FALSE(empty);
  waiter.notify();
  EXPECT_TRUE(run_until(loop, [&] { return empty; }));
}

}  // namespace
}  // namespace rooster
