#include "core/file_trail.hpp"

#include <algorithm>

#include <fcntl.h>
#include <sys/stat.h>

namespace rooster {
namespace {

constexpr std::uint64_t kStep = 1024 * 1024;
// Looked back over for pages that were still on their way to the disk the last time.
constexpr std::uint64_t kLookBack = 16 * kStep;

}  // namespace

void FileTrail::begin(int descriptor) {
  struct stat status{};
  is_file_ = fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
  written_ = 0;
}

void FileTrail::wrote(int descriptor, std::uint64_t bytes) {
  if (!is_file_) return;
  written_ += bytes;
  if (written_ < kStep) return;
  struct stat status{};
  if (fstat(descriptor, &status) != 0) return;
  const auto end = static_cast<std::uint64_t>(status.st_size);  // a rotation may have emptied it
  const std::uint64_t begin = end - std::min(end, written_);
  const std::uint64_t back = begin - std::min(begin, kLookBack);
  written_ = 0;
  // Both are advice: a file system that knows neither has lost nothing.
  sync_file_range(descriptor, static_cast<off_t>(begin), static_cast<off_t>(end - begin),
                  SYNC_FILE_RANGE_WRITE);
  if (back < begin) {
    posix_fadvise(descriptor, static_cast<off_t>(back), static_cast<off_t>(begin - back),
                  POSIX_FADV_DONTNEED);
  }
}

}  // namespace rooster
