// The log thread, and the write it lives by. Access log and node log are both drained here.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string_view>
#include <thread>
#include <vector>

namespace rooster {

/// Writes as much of `bytes` as goes without blocking, whatever kind of descriptor it is. Returns
/// the bytes taken, 0 if it would block, -errno on failure. SIGPIPE must be ignored or blocked.
std::int64_t write_without_blocking(int descriptor, std::string_view bytes);

/// The log thread: calls every drain again and again, at most 20 ms apart while there is something
/// to write. Nobody who logs ever wakes it: that would cost each of them a syscall.
class LogThread {
 public:
  /// Writes what there is and returns whether there was anything.
  using Drain = std::function<bool()>;

  explicit LogThread(std::vector<Drain> drains);
  /// Drains a last time and joins.
  ~LogThread();
  LogThread(const LogThread&) = delete;
  LogThread& operator=(const LogThread&) = delete;

 private:
  void run();

  std::vector<Drain> drains_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;  // under mutex_
  std::thread thread_;
};

}  // namespace rooster
