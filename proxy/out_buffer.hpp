// OutBuffer: gathers small pieces in a buffer of the worker so that they leave in one send. Empty
// before every suspension.
#pragma once

#include "core/stream.hpp"

#include <cstring>
#include <span>
#include <string_view>

namespace rooster::proxy {

class OutBuffer {
 public:
  OutBuffer(Stream& stream, std::span<char> scratch) : stream_(stream), scratch_(scratch) {}

  /// Room for an encoder that writes by itself; at least `wanted` bytes (which the scratch must
  /// have).
  std::span<char> room(std::size_t wanted) {
    if (scratch_.size() - used_ < wanted) flush();
    return scratch_.subspan(used_);
  }
  void produced(std::size_t bytes) { used_ += bytes; }

  bool append(std::string_view bytes) {
    if (bytes.size() > scratch_.size() - used_) return write_through(bytes);
    std::memcpy(scratch_.data() + used_, bytes.data(), bytes.size());
    used_ += bytes.size();
    return true;
  }
  /// What is gathered, then `bytes`, without copying `bytes`.
  bool write_through(std::string_view bytes) {
    const std::string_view gathered{scratch_.data(), std::exchange(used_, 0)};
    return stream_.write(gathered, bytes);
  }
  bool flush() {
    if (used_ == 0) return true;
    return stream_.write({scratch_.data(), std::exchange(used_, 0)});
  }
  bool empty() const { return used_ == 0; }

 private:
  Stream& stream_;
  std::span<char> scratch_;
  std::size_t used_ = 0;
};

}  // namespace rooster::proxy
