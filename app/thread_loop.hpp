// ThreadLoop: a Loop with a thread of its own, ended and joined with the object.
#pragma once

#include "core/loop.hpp"

#include <string>
#include <thread>

#include <pthread.h>

namespace rooster::app {

class ThreadLoop {
 public:
  explicit ThreadLoop(std::string name) : name_(std::move(name)) {}
  ~ThreadLoop() { stop(); }
  ThreadLoop(const ThreadLoop&) = delete;
  ThreadLoop& operator=(const ThreadLoop&) = delete;

  void start() {
    thread_ = std::thread([this] {
      pthread_setname_np(pthread_self(), name_.c_str());
      loop_.run();
    });
  }
  /// What was posted before still runs.
  void stop() {
    if (!thread_.joinable()) return;
    loop_.post([this] { loop_.stop(); });
    thread_.join();
  }
  /// Waits until the loop was stopped by somebody else.
  void join() {
    if (thread_.joinable()) thread_.join();
  }
  Loop& loop() { return loop_; }

 private:
  std::string name_;
  Loop loop_;
  std::thread thread_;
};

}  // namespace rooster::app
