#include "core/loop.hpp"

#include "core/limits.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cerrno>
#include <mutex>
#include <system_error>
#include <vector>

#include <sys/epoll.h>
#include <sys/eventfd.h>

namespace rooster {

namespace asio = boost::asio;

// ---- Link

void Link::unlink() {
  prev_->next_ = next_;
  next_->prev_ = prev_;
  next_ = prev_ = this;
}

void Link::link_before(Link& ring) {
  unlink();
  prev_ = ring.prev_;
  next_ = &ring;
  prev_->next_ = this;
  ring.prev_ = this;
}

void Link::take_all(Link& from) {
  assert(!is_linked());
  if (!from.is_linked()) return;
  next_ = from.next_;
  prev_ = from.prev_;
  next_->prev_ = this;
  prev_->next_ = this;
  from.next_ = from.prev_ = &from;
}

// ---- Loop

namespace {

constexpr std::size_t kWheelSlots = 1024;  // 102 s; a later deadline goes round again
constexpr int kEventsPerTurn = 256;
constexpr int kRoundsPerTurn = 4;      // of the set, before Asio's own work gets its turn
constexpr int kWorthAnotherRound = 8;  // events; after fewer the set is empty

int make_set() {
  const int set = epoll_create1(EPOLL_CLOEXEC);
  if (set < 0) throw std::system_error(errno, std::generic_category(), "epoll_create1");
  return set;
}

}  // namespace

struct Loop::Impl {
  Impl() : set(io, make_set()), ticker(io), wakeup(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (!wakeup) throw std::system_error(errno, std::generic_category(), "eventfd");
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = this;  // no Pollable: posts are here
    epoll_ctl(set.native_handle(), EPOLL_CTL_ADD, wakeup.get(), &event);
  }

  asio::io_context io{1};
  asio::posix::stream_descriptor set;
  asio::steady_timer ticker;
  TimePoint epoch = Clock::now();
  std::uint64_t current_tick = 0;
  std::array<Link, kWheelSlots> wheel;
  Link ready;
  std::array<epoll_event, kEventsPerTurn> events;
  int event_index = 0;
  int event_count = 0;
  bool in_turn = false;
  bool drain_posted = false;
  bool blocks_in_set = false;  // run_data_path()
  std::atomic<bool> is_stopped{false};
  std::vector<std::move_only_function<void()>> deferred;

  Descriptor wakeup;  // readable while there are posts
  std::mutex posts_mutex;
  std::vector<std::move_only_function<void()>> posts;  // under posts_mutex

  // The counter is taken back first: a post that comes in between is found in the queue.
  void run_posts() {
    std::uint64_t count = 0;
    (void)!::read(wakeup.get(), &count, sizeof count);
    std::vector<std::move_only_function<void()>> batch;
    {
      const std::lock_guard lock(posts_mutex);
      batch.swap(posts);
    }
    for (auto& work : batch) work();
  }

  void wait_for_set(Loop& loop) {
    set.async_wait(asio::posix::descriptor_base::wait_read, [this, &loop](auto failed) {
      if (failed) return;
      loop.dispatch_set();
      wait_for_set(loop);
    });
  }
  void wait_for_tick(Loop& loop) {
    ticker.expires_at(epoch + (current_tick + 1) * Duration(limits::kTick));
    ticker.async_wait([this, &loop](auto failed) {
      if (failed) return;
      loop.tick();
      wait_for_tick(loop);
    });
  }
};

Loop::Loop()
    : impl_(std::make_unique<Impl>()),
      cork_(std::make_unique_for_overwrite<char[]>(kCorkBytes)),
      now_(Clock::now()) {
  impl_->wait_for_set(*this);
  impl_->wait_for_tick(*this);
}

Loop::~Loop() = default;

asio::io_context& Loop::io() {
  return impl_->io;
}

void Loop::run() {
  auto guard = asio::make_work_guard(impl_->io);
  impl_->io.run();
}

void Loop::run_for(Duration wait) {
  impl_->io.restart();
  impl_->io.run_one_for(wait);
  impl_->io.poll();
}

// Blocks in the set itself: a turn costs one syscall, where Asio's loop around it costs four.
// Asio's own work (a worker has nearly none) is looked at with each tick.
void Loop::run_data_path() {
  Impl& impl = *impl_;
  impl.blocks_in_set = true;
  while (!impl.is_stopped.load(std::memory_order_relaxed)) {
    const TimePoint next_tick =
        impl.epoch + static_cast<std::int64_t>(impl.current_tick + 1) * Duration(limits::kTick);
    const auto until_tick = std::chrono::ceil<std::chrono::milliseconds>(
        std::max(next_tick - Clock::now(), Duration::zero()));
    impl.in_turn = true;
    dispatch_events(impl.ready.is_linked() ? 0 : static_cast<int>(until_tick.count()));
    end_turn();
    if (now_ < next_tick) continue;
    tick();
    impl.io.poll();
  }
  impl.blocks_in_set = false;
}

void Loop::stop() {
  impl_->is_stopped.store(true, std::memory_order_relaxed);
  impl_->io.stop();
  post([] {});
}

void Loop::post(std::move_only_function<void()> work) {
  bool was_empty = false;
  {
    const std::lock_guard lock(impl_->posts_mutex);
    was_empty = impl_->posts.empty();
    impl_->posts.push_back(std::move(work));
  }
  const std::uint64_t one = 1;
  if (was_empty) (void)!::write(impl_->wakeup.get(), &one, sizeof one);
}

void Loop::defer(std::move_only_function<void()> work) {
  impl_->deferred.push_back(std::move(work));
  if (!impl_->in_turn) post([] {});
}

void Loop::begin_turn() {
  now_ = Clock::now();
  impl_->in_turn = true;
}

void Loop::dispatch_set() {
  impl_->in_turn = true;
  for (int round = 0; round < kRoundsPerTurn; ++round) {
    if (dispatch_events(0) < kWorthAnotherRound) break;
  }
  end_turn();
}

// One look at the set, waiting at most `milliseconds`; returns how many events there were.
int Loop::dispatch_events(int milliseconds) {
  Impl& impl = *impl_;
  const int count =
      epoll_wait(impl.set.native_handle(), impl.events.data(), kEventsPerTurn, milliseconds);
  now_ = Clock::now();
  impl.event_count = std::max(count, 0);
  for (impl.event_index = 0; impl.event_index < impl.event_count; ++impl.event_index) {
    const epoll_event& event = impl.events[static_cast<std::size_t>(impl.event_index)];
    if (event.data.ptr == nullptr) continue;  // destroyed earlier in this batch
    if (event.data.ptr == impl_.get()) {
      impl.run_posts();
      continue;
    }
    auto* pollable = static_cast<Pollable*>(event.data.ptr);
    std::uint8_t bits = 0;
    if (event.events & EPOLLIN) bits |= Pollable::kReadable;
    if (event.events & EPOLLOUT) bits |= Pollable::kWritable;
    if (event.events & EPOLLRDHUP) bits |= Pollable::kReadable | Pollable::kPeerClosed;
    if (event.events & (EPOLLHUP | EPOLLERR)) {
      bits |= Pollable::kReadable | Pollable::kWritable | Pollable::kBroken;
    }
    pollable->ready_ |= bits;
    if (pollable->waiter_ != nullptr && (pollable->wanted_ & bits) != 0) {
      pollable->waiter_->resume_with(Woke::Ready);
    }
  }
  impl.event_count = 0;
  run_ready();
  return std::max(count, 0);
}

// Resumes those that were scheduled until now; what they schedule in turn waits for the next turn.
void Loop::run_ready() {
  if (!impl_->ready.is_linked()) return;
  Link batch;
  batch.take_all(impl_->ready);
  while (batch.is_linked()) {
    auto* node = static_cast<Waiter::Node*>(batch.next());
    node->unlink();
    Waiter& waiter = *node->waiter;
    if (waiter.frame_) waiter.resume_with(waiter.woke_);
  }
}

void Loop::end_turn() {
  Impl& impl = *impl_;
  run_ready();
  while (!impl.deferred.empty()) {
    std::vector<std::move_only_function<void()>> work;
    work.swap(impl.deferred);
    for (auto& one : work) one();
  }
  impl.in_turn = false;
  if (impl.ready.is_linked() && !impl.drain_posted && !impl.blocks_in_set) {
    impl.drain_posted = true;
    post([this] { impl_->drain_posted = false; });
  }
}

void Loop::schedule(Waiter& waiter) {
  if (waiter.ready_node_.is_linked()) return;
  waiter.ready_node_.link_before(impl_->ready);
  if (!impl_->in_turn && !impl_->drain_posted) {
    impl_->drain_posted = true;
    post([this] { impl_->drain_posted = false; });
  }
}

std::uint64_t Loop::tick_of(TimePoint time) const {
  const auto since = std::max(time - impl_->epoch, Duration::zero());
  return static_cast<std::uint64_t>((since + limits::kTick - Duration(1)) /
                                    Duration(limits::kTick));
}

// One compare on the usual path: a waiter that is already linked at an earlier or equal tick is
// looked at again then.
void Loop::arm(Waiter& waiter, TimePoint deadline) {
  waiter.deadline_ = deadline;
  if (deadline == kNever) return;
  std::uint64_t tick = std::max(tick_of(deadline), impl_->current_tick + 1);
  if (waiter.wheel_node_.is_linked() && waiter.wheel_tick_ <= tick) return;
  tick = std::min(tick, impl_->current_tick + kWheelSlots - 1);
  waiter.wheel_tick_ = tick;
  waiter.wheel_node_.link_before(impl_->wheel[tick % kWheelSlots]);
}

void Loop::tick() {
  Impl& impl = *impl_;
  begin_turn();
  const auto due = static_cast<std::uint64_t>((now_ - impl.epoch) / Duration(limits::kTick));
  // After a long stop (a suspended laptop) one round of the wheel visits every slot; who is not due
  // yet finds a slot that lies ahead of `due`.
  const std::uint64_t first = impl.current_tick + 1;
  const std::uint64_t last = std::min(due, impl.current_tick + kWheelSlots);
  impl.current_tick = std::max(impl.current_tick, due);
  for (std::uint64_t visited = first; visited <= last; ++visited) {
    Link slot;
    slot.take_all(impl.wheel[visited % kWheelSlots]);
    while (slot.is_linked()) {
      auto* node = static_cast<Waiter::Node*>(slot.next());
      node->unlink();
      Waiter& waiter = *node->waiter;
      if (!waiter.frame_ || waiter.deadline_ == kNever) continue;
      if (waiter.deadline_ <= now_) {
        waiter.woke_ = Woke::Deadline;
        schedule(waiter);
      } else {
        arm(waiter, waiter.deadline_);
      }
    }
  }
  end_turn();
}

// Events of a pollable that goes away inside the batch must not find it any more.
void Loop::forget(Pollable& pollable) {
  Impl& impl = *impl_;
  for (int i = impl.event_index + 1; i < impl.event_count; ++i) {
    epoll_event& event = impl.events[static_cast<std::size_t>(i)];
    if (event.data.ptr == &pollable) event.data.ptr = nullptr;
  }
}

// ---- Pollable

Pollable::Pollable(Loop& loop, Descriptor fd, std::uint8_t ready)
    : loop_(loop), fd_(std::move(fd)), ready_(ready) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
  if ((ready & kWritable) == 0) {
    event.events |= EPOLLOUT;
    watches_writable_ = true;
  }
  event.data.ptr = this;
  if (epoll_ctl(loop_.impl_->set.native_handle(), EPOLL_CTL_ADD, fd_.get(), &event) != 0) {
    ready_ = kReadable | kWritable | kBroken;  // the next read or write reports it
  }
}

Pollable::~Pollable() {
  close();
}

void Pollable::watch_writable() {
  if (watches_writable_) return;
  watches_writable_ = true;
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = this;
  epoll_ctl(loop_.impl_->set.native_handle(), EPOLL_CTL_MOD, fd_.get(), &event);
}

void Pollable::close() {
  release().reset();
}

Descriptor Pollable::release() {
  if (!fd_) return {};
  assert(waiter_ == nullptr && "a pollable is not closed under a waiting coroutine");
  loop_.forget(*this);
  // Explicit: where another process holds the same open file, closing alone would leave it in the
  // set.
  epoll_ctl(loop_.impl_->set.native_handle(), EPOLL_CTL_DEL, fd_.get(), nullptr);
  return std::move(fd_);
}

// ---- Waiter

Waiter::Waiter(TaskGroup& group) : loop_(group.loop_) {
  group_node_.waiter = ready_node_.waiter = wheel_node_.waiter = this;
  group_node_.link_before(group.waiters_);
}

Waiter::~Waiter() {
  assert(!frame_ && "a waiter outlives its wait");
}

Waiter::Awaiter Waiter::wait(TimePoint deadline, Interest a, Interest b) {
  interests_ = {a, b};
  return {*this, std::min(deadline, limit_)};
}

bool Waiter::Awaiter::await_ready() {
  if (waiter_.interrupted_ != Fault::None) {
    waiter_.woke_ = Woke::Interrupted;
    return true;
  }
  if (waiter_.notified_) return false;
  for (const Interest& interest : waiter_.interests_) {
    if (interest.pollable != nullptr && interest.pollable->is(interest.bits)) {
      waiter_.woke_ = Woke::Ready;
      return true;
    }
  }
  if (deadline_ <= waiter_.loop_.now()) {
    waiter_.woke_ = Woke::Deadline;
    return true;
  }
  return false;
}

void Waiter::Awaiter::await_suspend(std::coroutine_handle<> frame) {
  waiter_.frame_ = frame;
  if (waiter_.notified_) {  // after the others' turn, even if it can go on at once
    waiter_.interests_ = {};
    waiter_.deadline_ = kNever;
    waiter_.woke_ = Woke::Notified;
    waiter_.loop_.schedule(waiter_);
    return;
  }
  for (const Interest& interest : waiter_.interests_) {
    if (interest.pollable == nullptr) continue;
    assert(interest.pollable->waiter_ == nullptr || interest.pollable->waiter_ == &waiter_);
    interest.pollable->waiter_ = &waiter_;
    interest.pollable->wanted_ |= interest.bits;
  }
  waiter_.loop_.arm(waiter_, deadline_);
}

Woke Waiter::Awaiter::await_resume() {
  if (waiter_.woke_ == Woke::Notified) waiter_.notified_ = false;
  return waiter_.woke_;
}

void Waiter::forget_interests() {
  for (Interest& interest : interests_) {
    if (interest.pollable == nullptr) continue;
    interest.pollable->waiter_ = nullptr;
    interest.pollable->wanted_ = 0;
    interest.pollable = nullptr;
  }
}

void Waiter::resume_with(Woke woke) {
  forget_interests();
  ready_node_.unlink();
  woke_ = woke;
  std::exchange(frame_, nullptr).resume();
}

void Waiter::notify() {
  notified_ = true;
  if (!frame_) return;
  woke_ = Woke::Notified;
  loop_.schedule(*this);
}

void Waiter::interrupt(Fault why) {
  interrupted_ = why;
  if (!frame_) return;
  woke_ = Woke::Interrupted;
  loop_.schedule(*this);
}

// ---- TaskGroup

TaskGroup::~TaskGroup() {
  assert(size_ == 0 && "tasks outlive their group");
}

void TaskGroup::spawn(Task<> task) {
  ++size_;
  std::move(task).start(*this);
}

void TaskGroup::task_ended() {
  if (--size_ == 0 && when_empty_) loop_.defer(std::exchange(when_empty_, nullptr));
}

void TaskGroup::interrupt_all(Fault why) {
  for (Link* node = waiters_.next(); node != &waiters_; node = node->next()) {
    static_cast<Waiter::Node*>(node)->waiter->interrupt(why);
  }
}

void TaskGroup::notify_all() {
  for (Link* node = waiters_.next(); node != &waiters_; node = node->next()) {
    static_cast<Waiter::Node*>(node)->waiter->notify();
  }
}

void TaskGroup::when_empty(std::move_only_function<void()> done) {
  if (size_ == 0) {
    loop_.defer(std::move(done));
  } else {
    when_empty_ = std::move(done);
  }
}

// ---- Timer

struct Timer::Impl {
  Impl(Loop& owner, std::move_only_function<void()> call)
      : loop(owner), timer(owner.io()), expired(std::move(call)) {}
  Loop& loop;
  asio::steady_timer timer;
  std::move_only_function<void()> expired;
  bool alive = true;
};

Timer::Timer(Loop& loop, std::move_only_function<void()> expired)
    : impl_(std::make_shared<Impl>(loop, std::move(expired))) {}

Timer::~Timer() {
  impl_->alive = false;
  impl_->timer.cancel();
}

void Timer::set(TimePoint when) {
  impl_->timer.expires_at(when);
  impl_->timer.async_wait([impl = impl_](auto failed) {
    // An expiry that was already queued when the time was replaced arrives as a success: hence the
    // second look.
    if (failed || !impl->alive || impl->timer.expiry() > Clock::now()) return;
    impl->loop.turn([&impl] { impl->expired(); });
  });
}

void Timer::cancel() {
  impl_->timer.cancel();
}

// ---- Watch

struct Watch::Impl : std::enable_shared_from_this<Watch::Impl> {
  Impl(Loop& owner, int fd, std::move_only_function<void()> read,
       std::move_only_function<void()> write)
      : loop(owner),
        descriptor(owner.io(), fd),
        readable(std::move(read)),
        writable(std::move(write)) {}

  void wait_readable() {
    descriptor.async_wait(asio::posix::descriptor_base::wait_read,
                          [self = shared_from_this()](auto failed) {
                            if (failed || !self->alive) return;
                            self->loop.turn([&self] { self->readable(); });
                            if (self->alive) self->wait_readable();
                          });
  }
  void wait_writable() {
    waits_writable = true;
    descriptor.async_wait(asio::posix::descriptor_base::wait_write,
                          [self = shared_from_this()](auto failed) {
                            self->waits_writable = false;
                            if (failed || !self->alive || !self->wants_writable) return;
                            self->loop.turn([&self] { self->writable(); });
                            if (self->alive && self->wants_writable) self->wait_writable();
                          });
  }

  Loop& loop;
  asio::posix::stream_descriptor descriptor;
  std::move_only_function<void()> readable;
  std::move_only_function<void()> writable;
  bool alive = true;
  bool wants_writable = false;
  bool waits_writable = false;
};

Watch::Watch(Loop& loop, int fd, std::move_only_function<void()> readable,
             std::move_only_function<void()> writable)
    : impl_(std::make_shared<Impl>(loop, fd, std::move(readable), std::move(writable))) {
  if (impl_->readable) impl_->wait_readable();
}

Watch::~Watch() {
  impl_->alive = false;
  impl_->descriptor.release();  // cancels; the descriptor stays its owner's
}

void Watch::want_writable(bool wanted) {
  impl_->wants_writable = wanted;
  if (wanted && !impl_->waits_writable) impl_->wait_writable();
}

}  // namespace rooster
