// An ExecProcess that really runs, as a child of the test.
#pragma once

#include "admin/exec_host.hpp"

#include <gtest/gtest.h>

#include <array>
#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace rooster::admin::testing {

class LocalProcess final : public ExecProcess {
 public:
  LocalProcess(Loop& loop, const ExecSpec& spec) {
    std::array<std::array<int, 2>, 3> pipes{};
    int master = -1;
    if (spec.has_terminal) {
      const winsize size{.ws_row = spec.rows, .ws_col = spec.columns};
      pid_ = ::forkpty(&master, nullptr, nullptr, &size);
    } else {
      for (auto& one : pipes) EXPECT_EQ(::pipe2(one.data(), O_CLOEXEC), 0);
      pid_ = ::fork();
    }
    if (pid_ == 0) {
      if (!spec.has_terminal) {
        ::setsid();
        ::dup2(pipes[0][0], 0);
        ::dup2(pipes[1][1], 1);
        ::dup2(pipes[2][1], 2);
      }
      ::signal(SIGPIPE, SIG_DFL);
      std::vector<char*> words;
      for (const std::string& word : spec.argv) words.push_back(const_cast<char*>(word.c_str()));
      words.push_back(nullptr);
      ::execvp(words.front(), words.data());
      ::_exit(127);
    }
    if (spec.has_terminal) {
      ends_.input = Descriptor(master);
      ::fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK);
    } else {
      ends_ = {Descriptor(pipes[0][1]), Descriptor(pipes[1][0]), Descriptor(pipes[2][0])};
      for (const int fd : {pipes[0][0], pipes[1][1], pipes[2][1]}) ::close(fd);
      for (const int fd : {ends_.input.get(), ends_.output.get(), ends_.errors.get()}) {
        ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
      }
    }
    pidfd_ = Descriptor(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
    watch_ = std::make_unique<Watch>(loop, pidfd_.get(), [this] { reap(); });
  }
  ~LocalProcess() override {
    watch_.reset();
    if (status_) return;
    ::kill(-pid_, SIGKILL);
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  Ends take_ends() override { return std::move(ends_); }
  void signal(int number) override {
    signals.push_back(number);
    if (::kill(-pid_, number) != 0) ::kill(pid_, number);
  }
  std::optional<std::uint32_t> status() const override { return status_; }
  void on_end(std::move_only_function<void()> ended) override { ended_ = std::move(ended); }

  std::vector<int> signals;

 private:
  void reap() {
    int status = 0;
    if (status_ || ::waitpid(pid_, &status, WNOHANG) != pid_) return;
    status_ = static_cast<std::uint32_t>(WIFEXITED(status) ? WEXITSTATUS(status)
                                                           : 128 + WTERMSIG(status));
    watch_.reset();
    if (ended_) ended_();
  }

  pid_t pid_ = 0;
  Ends ends_;
  Descriptor pidfd_;
  std::optional<std::uint32_t> status_;
  std::move_only_function<void()> ended_;
  std::unique_ptr<Watch> watch_;
};

}  // namespace rooster::admin::testing
