// What the tests of LwipStack share. lwIP is one a process, so the other stack lives in a forked
// child; a Wire at each end carries packets over a socketpair, and may lose or delay them.
#pragma once

#include "core/stream.hpp"
#include "tunnel/lwip_stack.hpp"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace rooster::tunnel::testing {

using namespace std::chrono_literals;

struct WireOptions {
  double loss = 0;   ///< of packets that go out, 0 to 1
  Duration delay{};  ///< of packets that come in
};

/// Between a PacketPort and a SOCK_SEQPACKET descriptor, until that is closed.
class Wire {
 public:
  Wire(Loop& loop, PacketPort& port, Descriptor link, WireOptions options)
      : port_(port),
        options_(options),
        group_(loop),
        ready_(loop, Descriptor(::dup(port.fd()))),
        link_(loop, std::move(link)),
        due_(loop, [this] { deliver(); }) {
    group_.spawn(carry());
  }
  ~Wire() {
    group_.interrupt_all(Fault::Interrupted);
    for (int turn = 0; turn < 100 && group_.size() > 0; ++turn) group_.loop().run_for(0ms);
  }

  WireOptions& options() { return options_; }
  bool is_cut() const { return group_.size() == 0; }

 private:
  struct Held {
    TimePoint due;
    std::vector<std::uint8_t> bytes;
  };

  Task<> carry() {
    Waiter waiter(group_);
    for (;;) {
      if (!receive()) co_return {};
      ready_.clear(Pollable::kReadable);  // an eventfd: each of its writes is an edge
      const bool all_sent = send();
      const Interest in{&ready_, all_sent ? Pollable::kReadable : std::uint8_t{0}};
      const auto bits = all_sent
                            ? Pollable::kReadable
                            : static_cast<std::uint8_t>(Pollable::kReadable | Pollable::kWritable);
      if (co_await waiter.wait(kNever, in, {&link_, bits}) == Woke::Interrupted) co_return {};
    }
  }

  bool send() {
    for (;;) {
      for (; next_ < taken_.size(); ++next_) {
        if (chance_(random_) < options_.loss) continue;
        const Packet packet = taken_[next_];
        if (::send(link_.fd(), packet.data(), packet.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
            errno == EAGAIN) {
          link_.clear(Pollable::kWritable);
          link_.watch_writable();
          return false;
        }
      }
      taken_ = port_.take();
      next_ = 0;
      if (taken_.empty()) return true;
    }
  }

  bool receive() {
    for (int count = 0; count < 64; ++count) {
      std::array<std::uint8_t, PacketPort::kMaxPacketBytes> buffer;
      const ssize_t got = ::recv(link_.fd(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (got < 0 && errno == EAGAIN) {
        link_.clear(Pollable::kReadable);
        break;
      }
      if (got <= 0) return false;
      held_.push_back({Clock::now() + options_.delay, {buffer.begin(), buffer.begin() + got}});
    }
    deliver();
    return true;
  }

  void deliver() {
    const TimePoint now = Clock::now();
    for (; !held_.empty() && held_.front().due <= now; held_.pop_front()) {
      const Packet packet(held_.front().bytes);
      port_.give({&packet, 1});
    }
    if (!held_.empty()) due_.set(held_.front().due);
  }

  PacketPort& port_;
  WireOptions options_;
  TaskGroup group_;
  Pollable ready_;
  Pollable link_;
  Timer due_;
  std::span<const Packet> taken_;
  std::size_t next_ = 0;
  std::deque<Held> held_;
  std::mt19937 random_{7};
  std::uniform_real_distribution<> chance_{0, 1};
};

/// Runs the loop until `done` or a generous end. False: it never was.
template <class Done>
bool run_until(Loop& loop, Done&& done) {
  for (int turn = 0; turn < 60'000; ++turn) {
    if (done()) return true;
    loop.run_for(1ms);
  }
  return false;
}

/// A child process that calls `serve(its end of the link)`; ended with this object.
class OtherProcess {
 public:
  template <class Serve>
  explicit OtherProcess(Serve&& serve) {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds), 0);
    link_ = Descriptor(fds[0]);
    child_ = ::fork();
    if (child_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::close(link_.release());
      serve(Descriptor(fds[1]));
      ::_exit(0);
    }
    ::close(fds[1]);
  }
  ~OtherProcess() {
    if (child_ <= 0) return;
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }

  Descriptor take_link() { return std::move(link_); }

 private:
  pid_t child_;
  Descriptor link_;
};

}  // namespace rooster::tunnel::testing
