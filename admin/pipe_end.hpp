// PipeEnd: one side of a pipe or a terminal on a loop. A Stream is for sockets alone.
#pragma once

#include "core/loop.hpp"
#include "core/stream.hpp"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace rooster::admin {

class PipeEnd {
 public:
  PipeEnd(Loop& loop, Descriptor fd) : pollable_(loop, std::move(fd)) {}

  /// One attempt. A terminal without programs on it has ended.
  ReadResult read(std::span<char> into);
  /// Writes or keeps all of it; nothing once it is broken.
  void write(std::string_view bytes);
  void flush();
  bool has_pending() const { return !pending_.empty(); }
  std::size_t pending_bytes() const { return pending_.size(); }
  bool is_broken() const { return is_broken_; }
  /// What is pending is dropped.
  void close() {
    pending_.clear();
    pollable_.close();
  }
  Interest readable() { return {&pollable_, Pollable::kReadable}; }
  Interest writable() { return {&pollable_, Pollable::kWritable | Pollable::kBroken}; }
  int fd() const { return pollable_.fd(); }

 private:
  Pollable pollable_;
  std::string pending_;
  bool is_broken_ = false;
};

}  // namespace rooster::admin
