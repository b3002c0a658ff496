// Descriptor: owns one file descriptor. Descriptors travel in the keeper's messages, so both ends
// share this type.
#pragma once

#include <utility>
#include <vector>

namespace rooster::keeper {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  ~Descriptor() { reset(); }

  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  explicit operator bool() const { return is_open(); }
  /// Gives the number away: the caller closes it.
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1);
  /// A second descriptor of the same open file, close-on-exec; not open on failure (errno says
  /// why).
  Descriptor duplicate() const;

 private:
  int fd_ = -1;
};

using Descriptors = std::vector<Descriptor>;

}  // namespace rooster::keeper
