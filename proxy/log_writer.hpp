// The reading end of the access log: on the log thread, from all workers' rings to one file or
// pipe.
#pragma once

#include "core/file_trail.hpp"
#include "core/time.hpp"
#include "proxy/access_log.hpp"

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace rooster::proxy {

/// Writes what the rings hold. `drain` on the log thread only.
class LogWriter {
 public:
  /// `target` as NodeReloadable::access_log: a path, "-" for standard output, "" for nowhere. The
  /// rings outlive the writer.
  LogWriter(std::string target, std::string edge_region, std::vector<AccessRing*> rings);
  ~LogWriter();
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  /// Formats and writes what there is, a megabyte at most; true if it wrote. While the target can't
  /// be written (ENOSPC, EPIPE, ...) it tries once a second and leaves the records in the rings,
  /// which then drop and count.
  bool drain(TimePoint now);

  /// Opens `target` anew before the next line: for rotation, and for a changed setting. Any thread.
  void reopen(std::string target);

  /// errno of the last failed attempt to open or write, 0 when the last one went well. Log thread.
  int trouble() const { return trouble_; }

 private:
  bool open_target(TimePoint now);
  void close_target();
  void take_reopening(TimePoint now);
  void format_some();
  void note_drops();
  bool flush(TimePoint now);

  std::string target_;
  const std::string edge_region_;
  const std::vector<AccessRing*> rings_;
  std::vector<std::uint64_t> drops_told_;
  std::string pending_;  // formatted, not yet written from pending_done_ on
  std::size_t pending_done_ = 0;
  int descriptor_ = -1;
  FileTrail trail_;
  TimePoint retry_at_{};
  int trouble_ = 0;

  std::mutex mutex_;
  std::optional<std::string> reopening_;  // under mutex_
};

}  // namespace rooster::proxy
