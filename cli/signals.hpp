// Signals as calls on a loop; and another program run beside a command.
#pragma once

#include "core/descriptor.hpp"
#include "core/loop.hpp"

#include <csignal>
#include <expected>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <sys/types.h>

namespace rooster::cli {

/// Takes signals while it lives; make it before any thread, so that none gets them instead.
class Signals {
 public:
  /// `from_terminal`: the kernel sent it, to the whole foreground group (Ctrl-C).
  using Take = std::function<void(int number, bool from_terminal)>;
  Signals(Loop& loop, std::initializer_list<int> numbers, Take take);
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  /// The mask from before, for children.
  const sigset_t& mask_before() const { return before_; }

 private:
  void read_all();
  sigset_t before_{};
  Descriptor fd_;
  Take take_;
  std::unique_ptr<Watch> watch_;
};

/// A program that runs with our standard streams.
class ChildProgram {
 public:
  /// `ended` gets its exit status: its own, or 128 + the signal. Errors: its name and why it can't
  /// be run.
  static std::expected<std::unique_ptr<ChildProgram>, std::string> start(
      Loop& loop, const std::vector<std::string>& argv, const std::vector<std::string>& more_env,
      const sigset_t& mask, std::function<void(int status)> ended);
  ~ChildProgram();
  ChildProgram(const ChildProgram&) = delete;
  ChildProgram& operator=(const ChildProgram&) = delete;
  void signal(int number) const;

 private:
  ChildProgram() = default;
  void reap();
  pid_t pid_ = 0;
  bool has_ended_ = false;
  Descriptor pidfd_;
  std::function<void(int)> ended_;
  std::unique_ptr<Watch> watch_;
};

/// Calls back on the loop when standard input has ended; what comes before is read and dropped. On
/// a thread of its own, because files and terminals can't all be watched.
class InputEnd {
 public:
  InputEnd(Loop& loop, std::function<void()> ended);
  ~InputEnd();
  InputEnd(const InputEnd&) = delete;
  InputEnd& operator=(const InputEnd&) = delete;

 private:
  Descriptor stop_;
  std::thread thread_;
};

}  // namespace rooster::cli
