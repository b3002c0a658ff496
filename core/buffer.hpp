// Buffers of the data path: fixed blocks that a loop lends while there is something in them.
#pragma once

#include "core/limits.hpp"

#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace rooster {

/// A free list of equal blocks, for one thread. Keeps at most `keep` of them.
class BlockPool {
 public:
  BlockPool(std::size_t block_bytes, std::size_t keep) : block_bytes_(block_bytes), keep_(keep) {}
  std::unique_ptr<char[]> take() {
    if (blocks_.empty()) return std::make_unique_for_overwrite<char[]>(block_bytes_);
    auto block = std::move(blocks_.back());
    blocks_.pop_back();
    return block;
  }
  void give(std::unique_ptr<char[]> block) {
    if (block && blocks_.size() < keep_) blocks_.push_back(std::move(block));
  }
  std::size_t block_bytes() const { return block_bytes_; }

 private:
  std::size_t block_bytes_;
  std::size_t keep_;
  std::vector<std::unique_ptr<char[]>> blocks_;
};

/// What has been read and not yet used: a contiguous window in a borrowed block. Holds no memory
/// while empty.
class ReadBuffer {
 public:
  explicit ReadBuffer(BlockPool& pool) : pool_(pool) {}
  ~ReadBuffer() { pool_.give(std::move(block_)); }
  ReadBuffer(const ReadBuffer&) = delete;
  ReadBuffer& operator=(const ReadBuffer&) = delete;

  std::string_view view() const { return {block_.get() + begin_, end_ - begin_}; }
  std::span<char> window() { return {block_.get() + begin_, end_ - begin_}; }
  std::size_t size() const { return end_ - begin_; }
  bool empty() const { return begin_ == end_; }
  bool full() const { return size() == capacity(); }
  std::size_t capacity() const { return large_bytes_ != 0 ? large_bytes_ : pool_.block_bytes(); }

  /// Free space behind the content; borrows a block and moves the content to its front as needed.
  std::span<char> space() {
    if (!block_) block_ = pool_.take();
    if (begin_ != 0 && end_ == capacity()) compact();
    return {block_.get() + end_, capacity() - end_};
  }
  void produced(std::size_t bytes) { end_ += bytes; }
  void consume(std::size_t bytes) {
    begin_ += bytes;
    if (begin_ == end_) release();
  }
  /// Another block, of `bytes` (at least size()), for a head that does not fit; kept until the
  /// content is gone.
  void grow(std::size_t bytes) {
    auto larger = std::make_unique_for_overwrite<char[]>(bytes);
    const std::size_t used = size();
    if (used != 0) std::memcpy(larger.get(), block_.get() + begin_, used);
    if (large_bytes_ == 0) pool_.give(std::move(block_));
    block_ = std::move(larger);
    large_bytes_ = bytes;
    begin_ = 0;
    end_ = used;
  }
  /// Forgets the last `bytes`.
  void drop_back(std::size_t bytes) { end_ -= bytes; }
  /// Moves the content to the front of the block.
  void compact() {
    const std::size_t used = size();
    if (begin_ != 0 && used != 0) std::memmove(block_.get(), block_.get() + begin_, used);
    begin_ = 0;
    end_ = used;
  }
  /// Keeps the content in a block of just its size: for long waits. expand() undoes it.
  void shrink() {
    if (!empty()) grow(size());
  }
  /// Back into a block of the pool, if the content fits in one with room to spare.
  void expand() {
    const std::size_t used = size();
    if (large_bytes_ == 0 || used >= pool_.block_bytes()) return;
    auto block = pool_.take();
    std::memcpy(block.get(), block_.get() + begin_, used);
    block_ = std::move(block);
    large_bytes_ = 0;
    begin_ = 0;
    end_ = used;
  }
  /// Gives the memory back if there is nothing in it.
  void release() {
    if (begin_ != end_) return;
    begin_ = end_ = 0;
    if (large_bytes_ != 0) {
      block_.reset();
      large_bytes_ = 0;
    } else {
      pool_.give(std::move(block_));
    }
  }

 private:
  BlockPool& pool_;
  std::unique_ptr<char[]> block_;
  std::size_t large_bytes_ = 0;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace rooster
