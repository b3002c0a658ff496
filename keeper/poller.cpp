#include "keeper/poller.hpp"

#include <algorithm>
#include <limits>

#include <sys/epoll.h>

namespace rooster::keeper {
namespace {

constexpr unsigned kSourceShift = 56;

epoll_event event_of(std::uint32_t events, Source source, std::uint64_t serial) {
  epoll_event event = {};
  event.events = events;
  event.data.u64 = static_cast<std::uint64_t>(source) << kSourceShift | serial;
  return event;
}

}  // namespace

Poller::Poller() : set_(::epoll_create1(EPOLL_CLOEXEC)) {}

bool Poller::watch(int fd, Source source, std::uint64_t serial) {
  epoll_event event = event_of(EPOLLIN, source, serial);
  return ::epoll_ctl(set_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void Poller::set_wants_io(int fd, Source source, bool read, bool write) {
  epoll_event event = event_of((read ? EPOLLIN : 0U) | (write ? EPOLLOUT : 0U), source, 0);
  ::epoll_ctl(set_.get(), EPOLL_CTL_MOD, fd, &event);
}

void Poller::forget(int fd) {
  ::epoll_ctl(set_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

std::span<const ReadySource> Poller::wait(TimePoint deadline) {
  int timeout = -1;
  if (deadline != kNever) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(remaining(deadline, Clock::now())).count();
    timeout = static_cast<int>(std::min<decltype(left)>(left, std::numeric_limits<int>::max()));
  }
  std::array<epoll_event, kPerTurn> events = {};
  const int count = std::max(
      0, ::epoll_wait(set_.get(), events.data(), static_cast<int>(events.size()), timeout));
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    ready_[i] = {.source = static_cast<Source>(events[i].data.u64 >> kSourceShift),
                 .serial = events[i].data.u64 & ((1ULL << kSourceShift) - 1)};
  }
  return std::span(ready_).first(static_cast<std::size_t>(count));
}

}  // namespace rooster::keeper
