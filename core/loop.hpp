// Loop: one thread's event loop, and how coroutines wait on it.
//
// A Loop is one Asio io_context (posts, exact timers, signals, c-ares) in which one edge-triggered
// epoll set stands as a single descriptor; every data-path descriptor is registered in that set
// once (docs/decisions/0004, 0013). A coroutine waits through its Waiter: for descriptors, a
// notification, a deadline or an interruption, whichever comes first. All of this belongs to the
// loop's own thread, except Loop::post and Loop::stop.
#pragma once

#include "core/descriptor.hpp"
#include "core/fault.hpp"
#include "core/task.hpp"
#include "core/time.hpp"

#include <array>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

namespace boost::asio {
class io_context;
}

namespace rooster {

class Loop;
class TaskGroup;
class Waiter;

/// A node of an intrusive doubly linked ring; unlinks itself when destroyed.
class Link {
 public:
  Link() = default;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  ~Link() { unlink(); }
  bool is_linked() const { return next_ != this; }
  void unlink();
  /// Inserts this node before `ring`: at the end of the list whose head `ring` is.
  void link_before(Link& ring);
  Link* next() const { return next_; }
  /// Moves every node of `from` behind this head, which must be empty.
  void take_all(Link& from);

 private:
  Link* next_ = this;
  Link* prev_ = this;
};

/// A non-blocking descriptor in a Loop's edge-triggered set, with the readiness that is known of
/// it.
class Pollable {
 public:
  static constexpr std::uint8_t kReadable = 1;
  static constexpr std::uint8_t kWritable = 2;
  static constexpr std::uint8_t kPeerClosed = 4;  ///< the peer sent FIN
  static constexpr std::uint8_t kBroken = 8;      ///< HUP or ERR

  /// Takes `fd`, which must be non-blocking. `ready` is what may be assumed of it: a fresh
  /// connection is writable.
  Pollable(Loop& loop, Descriptor fd, std::uint8_t ready = kWritable);
  ~Pollable();
  Pollable(const Pollable&) = delete;
  Pollable& operator=(const Pollable&) = delete;

  int fd() const { return fd_.get(); }
  Loop& loop() const { return loop_; }
  bool is(std::uint8_t any_of) const { return (ready_ & any_of) != 0; }
  void clear(std::uint8_t bits) { ready_ = static_cast<std::uint8_t>(ready_ & ~bits); }
  /// Asks the set for writability from now on: call it after the first send that would block.
  void watch_writable();
  /// Leaves the set and closes the descriptor.
  void close();
  /// Leaves the set and hands the descriptor over.
  Descriptor release();

 private:
  friend class Loop;
  friend class Waiter;
  Loop& loop_;
  Descriptor fd_;
  std::uint8_t ready_;
  std::uint8_t wanted_ = 0;  // what waiter_ waits for
  bool watches_writable_ = false;
  Waiter* waiter_ = nullptr;
};

/// One descriptor and what of it is waited for.
struct Interest {
  Pollable* pollable = nullptr;
  std::uint8_t bits = 0;
};

/// Why a wait ended.
enum class Woke : std::uint8_t { Ready, Notified, Deadline, Interrupted };

/// One coroutine's place to wait. Everything a coroutine (and those it awaits) suspends on goes
/// through its Waiter, so that a deadline, a departed client or a shutdown always resumes the frame
/// instead of destroying it.
class Waiter {
 public:
  static constexpr std::size_t kMaxInterests = 2;  // the two sides of an exchange

  explicit Waiter(TaskGroup& group);
  ~Waiter();
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  class Awaiter {
   public:
    bool await_ready();
    void await_suspend(std::coroutine_handle<> frame);
    Woke await_resume();

   private:
    friend class Waiter;
    Awaiter(Waiter& waiter, TimePoint deadline) : waiter_(waiter), deadline_(deadline) {}
    Waiter& waiter_;
    TimePoint deadline_;
  };
  /// Suspends until one of the interests is ready, notify(), `deadline` (rounded up to
  /// limits::kTick) or interrupt(). Interests with a null pollable are ignored. One wait at a time.
  Awaiter wait(TimePoint deadline, Interest a = {}, Interest b = {});

  /// Resumes the wait soon (never inside this call) as Notified; kept for the next wait if none is
  /// on, which then ends once the others have had their turn: notify() and wait() is how a busy
  /// coroutine lets others in.
  void notify();
  /// Resumes this wait and every later one as Interrupted, until calm().
  void interrupt(Fault why);
  bool is_interrupted() const { return interrupted_ != Fault::None; }
  Fault interrupted_by() const { return interrupted_; }
  void calm() { interrupted_ = Fault::None; }

  /// No wait lasts longer than this, whatever it asks for; see DeadlineScope.
  TimePoint limit() const { return limit_; }
  Loop& loop() const { return loop_; }

 private:
  friend class Loop;
  friend class TaskGroup;
  friend class DeadlineScope;
  void resume_with(Woke woke);
  void forget_interests();

  Loop& loop_;
  struct Node : Link {
    Waiter* waiter = nullptr;
  };
  Node group_node_;  // in the group's list
  Node ready_node_;  // in the loop's list of waiters to resume
  Node wheel_node_;  // in a slot of the deadline wheel
  std::uint64_t wheel_tick_ = 0;
  TimePoint deadline_ = kNever;
  TimePoint limit_ = kNever;
  std::coroutine_handle<> frame_;
  std::array<Interest, kMaxInterests> interests_{};
  Woke woke_ = Woke::Ready;
  bool notified_ = false;
  Fault interrupted_ = Fault::None;
};

/// While it lives, no wait of `waiter` lasts past `deadline`. Scopes nest by the earlier deadline.
class DeadlineScope {
 public:
  DeadlineScope(Waiter& waiter, TimePoint deadline) : waiter_(waiter), outer_(waiter.limit_) {
    waiter.limit_ = std::min(outer_, deadline);
  }
  ~DeadlineScope() { waiter_.limit_ = outer_; }
  DeadlineScope(const DeadlineScope&) = delete;
  DeadlineScope& operator=(const DeadlineScope&) = delete;

 private:
  Waiter& waiter_;
  TimePoint outer_;
};

/// Counts the coroutines that were started on its behalf; nothing is spawned without one.
class TaskGroup final : private detail::TaskOwner {
 public:
  explicit TaskGroup(Loop& loop) : loop_(loop) {}
  ~TaskGroup();
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  /// Starts `task` at once and counts it until its end; its Error, if any, is dropped.
  void spawn(Task<> task);
  std::size_t size() const { return size_; }
  /// Interrupts every Waiter of the group.
  void interrupt_all(Fault why);
  /// Notifies every Waiter of the group: each looks at its surroundings again.
  void notify_all();
  /// Calls `done` once, when the last task has ended (at once if there is none).
  void when_empty(std::move_only_function<void()> done);
  Loop& loop() const { return loop_; }

 private:
  friend class Waiter;
  void task_ended() override;
  Loop& loop_;
  Link waiters_;
  std::size_t size_ = 0;
  std::move_only_function<void()> when_empty_;
};

/// Calls a function at a time, exact to the system's timer; for control work, not for the data
/// path.
class Timer {
 public:
  Timer(Loop& loop, std::move_only_function<void()> expired);
  ~Timer();
  void set(TimePoint when);  ///< replaces an earlier time
  void cancel();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// Calls a function whenever a descriptor is readable or writable (level-triggered, by Asio); for
/// control work: c-ares, netlink, pipes, the keeper's channel. Does not own the descriptor.
class Watch {
 public:
  Watch(Loop& loop, int fd, std::move_only_function<void()> readable,
        std::move_only_function<void()> writable = {});
  ~Watch();
  /// Turns the writable callback on or off; it starts off.
  void want_writable(bool wanted);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// Runs until stop(): Asio's loop, with the set as one of its descriptors.
  void run();
  /// The same for a data path, where nearly all events are the set's: a turn costs one syscall
  /// instead of four. Timers and Watches are up to limits::kTick late.
  void run_data_path();
  /// Runs what is due and returns, waiting at most `wait`. For tests.
  void run_for(Duration wait);
  /// Any thread.
  void stop();
  /// Runs `work` on this loop's thread, soon. Any thread.
  void post(std::move_only_function<void()> work);
  /// Runs `work` at the end of this turn, once nothing on the stack can still use what it destroys.
  void defer(std::move_only_function<void()> work);

  /// The time at the start of this turn.
  TimePoint now() const { return now_; }
  boost::asio::io_context& io();

  /// Runs `work` as a turn of its own. For the adapters of Asio's completions, never inside another
  /// turn.
  template <class Work>
  void turn(Work&& work) {
    begin_turn();
    work();
    end_turn();
  }

  /// Where Streams gather TLS records before one send; valid only between two suspensions.
  std::span<char> cork() { return {cork_.get(), kCorkBytes}; }

 private:
  friend class Pollable;
  friend class Waiter;
  struct Impl;
  static constexpr std::size_t kCorkBytes = 512 * 1024;

  void begin_turn();
  void end_turn();
  void dispatch_set();
  int dispatch_events(int milliseconds);
  void run_ready();
  void tick();
  void schedule(Waiter& waiter);
  void arm(Waiter& waiter, TimePoint deadline);
  void forget(Pollable& pollable);
  std::uint64_t tick_of(TimePoint time) const;

  std::unique_ptr<Impl> impl_;
  std::unique_ptr<char[]> cork_;
  TimePoint now_;
};

}  // namespace rooster
