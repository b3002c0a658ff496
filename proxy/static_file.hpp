// StaticFile: an opened file of an app's [[statics]], and a worker's few of them. No worker ever
// waits for a disk: what may wait runs in_background().
#pragma once

#include "core/descriptor.hpp"
#include "core/loop.hpp"
#include "core/task.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

namespace rooster::proxy {

struct WorkerContext;

/// Runs work on another thread, soon.
using Background = std::function<void(std::move_only_function<void()>)>;

/// Immutable. A small one is its content; of a larger one there is the descriptor.
struct StaticFile {
  Descriptor fd;
  std::string content;
  std::uint64_t size = 0;
  std::int64_t modified = 0;  ///< seconds
  std::string etag;           ///< changes with the file, quotes included
  std::string last_modified;  ///< IMF-fixdate
  std::string type;
};
using StaticFilePtr = std::shared_ptr<const StaticFile>;

/// The regular file `path` below `directory`: no symbolic link is followed on the way, nothing
/// leads out of it. Null: there is none that can be read. Waits for the disk.
StaticFilePtr open_static(const std::string& directory, const std::string& path);

/// What was opened lately; what is not there is remembered as well.
class StaticFiles {
 public:
  struct Known {
    StaticFilePtr file;  ///< null: there is none
    TimePoint seen;
  };
  /// Null: look again.
  const Known* find(const std::string& key, TimePoint now) const;
  void put(std::string key, StaticFilePtr file, TimePoint now);
  std::size_t size() const { return known_.size(); }

 private:
  std::unordered_map<std::string, Known> known_;
};

/// Lets `work` run on the background thread and waits for it. `work` must own all that it touches:
/// it may end after the wait. Errors: UpstreamTimeout, or the interruption's.
Task<> in_background(WorkerContext& context, Waiter& waiter, std::move_only_function<void()> work);

/// `path` below `directory` as it is now, or was a second ago. Errors: as in_background().
Task<StaticFilePtr> find_static(WorkerContext& context, Waiter& waiter, std::string directory,
                                std::string path);

/// Reads from where `offset` is, at most `into`, without waiting for the disk. 0: it would have to
/// wait, or the file has become shorter.
std::size_t read_without_waiting(const StaticFile& file, std::uint64_t offset,
                                 std::span<char> into);

}  // namespace rooster::proxy
