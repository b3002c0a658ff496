#include "cli/signals.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string_view>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace rooster::cli {

Signals::Signals(Loop& loop, std::initializer_list<int> numbers, Take take)
    : take_(std::move(take)) {
  sigset_t wanted;
  sigemptyset(&wanted);
  for (const int number : numbers) sigaddset(&wanted, number);
  ::pthread_sigmask(SIG_BLOCK, &wanted, &before_);
  fd_ = Descriptor(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
  watch_ = std::make_unique<Watch>(loop, fd_.get(), [this] { read_all(); });
}

Signals::~Signals() {
  watch_.reset();
  // What came too late to be taken must not end the process now.
  signalfd_siginfo late{};
  while (::read(fd_.get(), &late, sizeof late) > 0) {
  }
  ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

void Signals::read_all() {
  signalfd_siginfo one{};
  while (::read(fd_.get(), &one, sizeof one) == sizeof one) {
    take_(static_cast<int>(one.ssi_signo), one.ssi_code == SI_KERNEL);
  }
}

std::expected<std::unique_ptr<ChildProgram>, std::string> ChildProgram::start(
    Loop& loop, const std::vector<std::string>& argv, const std::vector<std::string>& more_env,
    const sigset_t& mask, std::function<void(int)> ended) {
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  std::vector<char*> env;
  for (const std::string& entry : more_env) env.push_back(const_cast<char*>(entry.c_str()));
  const auto is_ours = [&more_env](std::string_view entry) {
    const std::string_view name = entry.substr(0, entry.find('=') + 1);
    return std::ranges::any_of(more_env, [name](const auto& one) { return one.starts_with(name); });
  };
  for (char** at = environ; *at != nullptr; ++at) {
    if (!is_ours(*at)) env.push_back(*at);
  }
  env.push_back(nullptr);

  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setsigmask(&attributes, &mask);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t pid = 0;
  const int wrong =
      ::posix_spawnp(&pid, words.front(), nullptr, &attributes, words.data(), env.data());
  ::posix_spawnattr_destroy(&attributes);
  if (wrong != 0) return std::unexpected(argv.front() + ": " + std::strerror(wrong));

  std::unique_ptr<ChildProgram> child(new ChildProgram());
  child->pid_ = pid;
  child->ended_ = std::move(ended);
  child->pidfd_ = Descriptor(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  child->watch_ =
      std::make_unique<Watch>(loop, child->pidfd_.get(), [raw = child.get()] { raw->reap(); });
  return child;
}

ChildProgram::~ChildProgram() {
  watch_.reset();
  if (has_ended_) return;
  ::kill(pid_, SIGTERM);
}

void ChildProgram::signal(int number) const {
  if (!has_ended_) ::kill(pid_, number);
}

void ChildProgram::reap() {
  int status = 0;
  if (has_ended_ || ::waitpid(pid_, &status, WNOHANG) != pid_) return;
  has_ended_ = true;
  watch_.reset();  // what has ended stays readable
  ended_(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

InputEnd::InputEnd(Loop& loop, std::function<void()> ended)
    : stop_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  thread_ = std::thread([&loop, stop = stop_.get(), ended = std::move(ended)]() mutable {
    std::array<char, 4096> block{};
    std::array<pollfd, 2> both{{{STDIN_FILENO, POLLIN, 0}, {stop, POLLIN, 0}}};
    for (;;) {
      if (::poll(both.data(), both.size(), -1) < 0 && errno != EINTR) break;
      if (both[1].revents != 0) return;
      if (both[0].revents == 0) continue;
      const ssize_t got = ::read(STDIN_FILENO, block.data(), block.size());
      if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) break;
    }
    loop.post(std::move(ended));
  });
}

InputEnd::~InputEnd() {
  const std::uint64_t one = 1;
  // An eventfd that was never written takes this; there is nothing to do if it did not.
  [[maybe_unused]] const ssize_t told = ::write(stop_.get(), &one, sizeof one);
  thread_.join();
}

}  // namespace rooster::cli
