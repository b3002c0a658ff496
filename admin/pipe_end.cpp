#include "admin/pipe_end.hpp"

#include <cerrno>

#include <unistd.h>

namespace rooster::admin {

ReadResult PipeEnd::read(std::span<char> into) {
  using enum ReadResult::Status;
  for (;;) {
    const ssize_t got = ::read(pollable_.fd(), into.data(), into.size());
    if (got > 0) return {Some, static_cast<std::size_t>(got)};
    if (got == 0) return {End};
    if (errno == EINTR) continue;
    if (errno == EAGAIN) {
      pollable_.clear(Pollable::kReadable);
      return {Later};
    }
    return {errno == EIO ? End : Failed};
  }
}

void PipeEnd::write(std::string_view bytes) {
  if (is_broken_) return;
  pending_ += bytes;
  flush();
}

void PipeEnd::flush() {
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const ssize_t put = ::write(pollable_.fd(), rest.data(), rest.size());
    if (put >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(put));
    } else if (errno == EAGAIN) {
      pollable_.clear(Pollable::kWritable);
      pollable_.watch_writable();
      break;
    } else if (errno != EINTR) {
      is_broken_ = true;
      rest = {};
    }
  }
  pending_.erase(0, pending_.size() - rest.size());
}

}  // namespace rooster::admin
