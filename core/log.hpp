// The node's own log (starts, wakes, stops, reloads, faults of ours), off the data path: lines are
// queued and the log thread writes them. Requests go to proxy/access_log instead.
#pragma once

#include "core/time.hpp"

#include <atomic>
#include <concepts>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <mutex>
#include <string>
#include <string_view>

namespace rooster {

enum class LogLevel : std::uint8_t { Debug, Info, Warn, Error };
enum class LogFormat : std::uint8_t { Human, Json };

std::string_view name_of(LogLevel level);

/// One named value of a line. Copied before the call returns.
struct LogField {
  LogField(std::string_view name_, std::string_view text_) : name(name_), text(text_) {}
  LogField(std::string_view name_, const char* text_) : name(name_), text(text_) {}
  LogField(std::string_view name_, const std::string& text_) : name(name_), text(text_) {}
  template <std::integral Number>
  LogField(std::string_view name_, Number number_)
      : name(name_), number(static_cast<std::int64_t>(number_)), is_number(true) {}

  std::string_view name;
  std::string_view text;
  std::int64_t number = 0;
  bool is_number = false;
};
using LogFields = std::initializer_list<LogField>;

/// One line without its end, in either format; nothing in `message` or the fields can begin another
/// line.
std::string format_log_line(LogFormat format, WallTime at, LogLevel level, std::string_view message,
                            LogFields fields);

/// `2025-05-27T12:29:13.042Z`
std::string format_time(WallTime at);
void append_time(std::string& out, WallTime at);

/// Takes lines from any thread without blocking on I/O. Bounded: when the log thread can't write,
/// further lines are dropped and counted, and a line says how many.
class Log {
 public:
  struct Options {
    LogFormat format = LogFormat::Human;
    LogLevel level = LogLevel::Info;
    int descriptor = 2;
  };
  explicit Log(Options options) : options_(options) {}
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  void debug(std::string_view message, LogFields fields = {}) {
    write(LogLevel::Debug, message, fields);
  }
  void info(std::string_view message, LogFields fields = {}) {
    write(LogLevel::Info, message, fields);
  }
  void warn(std::string_view message, LogFields fields = {}) {
    write(LogLevel::Warn, message, fields);
  }
  void error(std::string_view message, LogFields fields = {}) {
    write(LogLevel::Error, message, fields);
  }
  void write(LogLevel level, std::string_view message, LogFields fields);

  /// Writes what is queued; true if anything was. The log thread calls it, and main before and
  /// after that thread.
  bool drain();
  std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

  static constexpr std::size_t kMaxQueuedBytes = 1024 * 1024;

 private:
  Options options_;
  std::mutex mutex_;
  std::deque<std::string> lines_;  // under mutex_
  std::size_t queued_bytes_ = 0;   // under mutex_
  std::atomic<std::uint64_t> dropped_{0};
  std::uint64_t dropped_told_ = 0;  // drain() only
  std::string pending_;             // drain() only: not yet written from pending_done_ on
  std::size_t pending_done_ = 0;
};

}  // namespace rooster
