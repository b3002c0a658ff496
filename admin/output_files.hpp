// OutputFiles: what the apps wrote, one file each (`<data>/logs/<app>.log`) with one older one
// beside it. Lines are queued by any thread and written by the log thread: a slow or full disk
// costs lines, which are counted, and nobody's time.
#pragma once

#include "admin/node.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::admin {

class OutputFiles {
 public:
  struct Limits {
    std::size_t file_bytes = 10 * 1024 * 1024;  ///< of each of an app's two files
    std::size_t queued_bytes = 4 * 1024 * 1024;
  };
  explicit OutputFiles(std::string folder) : OutputFiles(std::move(folder), Limits{}) {}
  OutputFiles(std::string folder, Limits limits);
  OutputFiles(const OutputFiles&) = delete;
  OutputFiles& operator=(const OutputFiles&) = delete;

  /// Any thread; drops the line where too much waits already.
  void add(const LogLine& line);
  /// Log thread: writes what is queued; true if anything was.
  bool drain();
  /// Bytes that were dropped since the last call.
  std::uint64_t take_dropped() { return dropped_.exchange(0, std::memory_order_relaxed); }

  /// The last lines of the app's files, at most `most`, oldest first. Reads the disk.
  std::vector<LogLine> last_lines(const std::string& app, std::size_t most) const;

 private:
  bool append(const std::string& app, std::string_view text);
  std::string path_of(const std::string& app) const;

  const std::string folder_;
  const Limits limits_;
  std::mutex mutex_;
  std::map<std::string, std::string> queued_;  // by app; under mutex_
  std::size_t queued_bytes_ = 0;               // under mutex_
  std::atomic<std::uint64_t> dropped_{0};
};

/// A line as format_fly_line() writes it, without its end; empty provider: it is none.
LogLine parse_fly_line(std::string_view text);

}  // namespace rooster::admin
