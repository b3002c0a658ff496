#include "tunnel/output.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace rooster::tunnel {

std::span<const std::uint8_t> Output::datagram(const Batch& batch, std::size_t index) const {
  const std::size_t begin = index * batch.segment_bytes;
  assert(begin < batch.bytes);
  return bytes_of(batch).subspan(begin, std::min(batch.segment_bytes, batch.bytes - begin));
}

void Output::clear() {
  size_ = 0;
  batches_.clear();
  events_.clear();
}

std::span<std::uint8_t> Output::room(std::size_t bytes) {
  if (capacity_ - size_ < bytes) {
    constexpr std::size_t kFirst = 128 * 1024;
    const std::size_t capacity = std::max({kFirst, 2 * capacity_, size_ + bytes});
    auto larger = std::make_unique_for_overwrite<std::uint8_t[]>(capacity);
    if (size_ != 0) std::memcpy(larger.get(), bytes_.get(), size_);
    bytes_ = std::move(larger);
    capacity_ = capacity;
  }
  return {bytes_.get() + size_, bytes};
}

void Output::add(PeerId peer, const TunnelEndpoint& to, std::size_t bytes) {
  assert(bytes != 0 && capacity_ - size_ >= bytes);
  if (!batches_.empty()) {
    Batch& last = batches_.back();
    // A shorter datagram ended that batch: the kernel takes only the last one shorter.
    const bool is_open = last.bytes % last.segment_bytes == 0;
    if (is_open && bytes <= last.segment_bytes && last.bytes + bytes <= kMaxBatchBytes &&
        last.count() < kMaxSegments && last.peer == peer && last.to == to) {
      last.bytes += bytes;
      size_ += bytes;
      return;
    }
  }
  batches_.push_back({peer, to, size_, bytes, bytes});
  size_ += bytes;
}

}  // namespace rooster::tunnel
