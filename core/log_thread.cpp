#include "core/log_thread.hpp"

#include <climits>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <utility>

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace rooster {
namespace {

using namespace std::chrono_literals;

// At 300 bytes a record and 20 ms, a 4 MiB ring overflows at 700 000 requests a second and worker.
constexpr auto kBusyPause = 20ms;
constexpr auto kIdlePause = 100ms;
constexpr int kIdleRounds = 50;

}  // namespace

std::int64_t write_without_blocking(int descriptor, std::string_view bytes) {
  struct stat status{};
  if (fstat(descriptor, &status) != 0) return -errno;
  ssize_t n = 0;
  if (S_ISSOCK(status.st_mode)) {
    n = send(descriptor, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  } else if (S_ISREG(status.st_mode)) {
    n = ::write(descriptor, bytes.data(), bytes.size());
  } else {
    // O_NONBLOCK would change the terminal or pipe for everybody who shares it. A pipe that polls
    // writable takes PIPE_BUF bytes at once (POSIX).
    pollfd ready{.fd = descriptor, .events = POLLOUT, .revents = 0};
    if (poll(&ready, 1, 0) <= 0) return 0;
    n = ::write(descriptor, bytes.data(), std::min<std::size_t>(bytes.size(), PIPE_BUF));
  }
  if (n >= 0) return n;
  return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

LogThread::LogThread(std::vector<Drain> drains)
    : drains_(std::move(drains)), thread_([this] { run(); }) {}

LogThread::~LogThread() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void LogThread::run() {
  sigset_t all;
  sigfillset(&all);  // SIGPIPE among them: a closed log pipe gives EPIPE
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  pthread_setname_np(pthread_self(), "log");

  int idle_rounds = 0;
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    bool wrote = false;
    for (const Drain& drain : drains_) wrote |= drain();
    lock.lock();
    idle_rounds = wrote ? 0 : std::min(idle_rounds + 1, kIdleRounds);
    changed_.wait_for(lock, idle_rounds < kIdleRounds ? kBusyPause : kIdlePause,
                      [this] { return stopping_; });
  }
  lock.unlock();
  // Bounded: what a full disk or a stuck reader does not take by then is lost.
  const auto deadline = std::chrono::steady_clock::now() + 1s;
  bool wrote = true;
  while (wrote && std::chrono::steady_clock::now() < deadline) {
    wrote = false;
    for (const Drain& drain : drains_) wrote |= drain();
  }
}

}  // namespace rooster
