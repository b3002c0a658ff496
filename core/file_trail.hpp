// FileTrail: what a growing log leaves behind it in the page cache, and how it is cleared away.
#pragma once

#include <cstdint>

namespace rooster {

/// Has a file's written pages go to the disk a megabyte at a time and out of the page cache soon
/// after, so that a log neither pushes what is read out of the cache nor needs fresh memory for
/// every page of it: the kernel hands the same few pages out again, which is four times cheaper
/// where memory comes from a hypervisor (docs/decisions/0020).
class FileTrail {
 public:
  /// A file that is appended to. Anything but a regular one is left alone.
  void begin(int descriptor);
  /// After `bytes` more of it were written. May wait for a disk that has too much to do already, as
  /// a write may.
  void wrote(int descriptor, std::uint64_t bytes);

 private:
  bool is_file_ = false;
  std::uint64_t written_ = 0;  // since the last step
};

}  // namespace rooster
