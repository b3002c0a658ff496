#include "core/task.hpp"

#include <array>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ROOSTER_PLAIN_FRAMES 1  // a recycled frame would hide a use after free
#endif
#endif
#ifndef ROOSTER_PLAIN_FRAMES
#define ROOSTER_PLAIN_FRAMES 0
#endif

namespace rooster::detail {

namespace {

constexpr std::size_t kClassBytes = 64;
constexpr std::size_t kClasses = ROOSTER_PLAIN_FRAMES ? 0 : 128;

struct FreeLists {
  std::array<void*, kClasses + 1> heads{};
  FreeLists() = default;
  FreeLists(const FreeLists&) = delete;
  FreeLists& operator=(const FreeLists&) = delete;
  ~FreeLists() {
    for (void*& head : heads) {
      while (head != nullptr) {
        void* next = *static_cast<void**>(head);
        std::free(head);
        head = next;
      }
    }
  }
};

// The one mutable thread_local of the project: an allocator's cache, invisible but for its speed.
FreeLists& free_lists() {
  thread_local FreeLists lists;
  return lists;
}

}  // namespace

void* FrameCache::allocate(std::size_t bytes) {
  const std::size_t size_class = (bytes + kClassBytes - 1) / kClassBytes;
  if (size_class < kClasses) {
    void*& head = free_lists().heads[size_class];
    if (head != nullptr) {
      void* frame = head;
      head = *static_cast<void**>(frame);
      return frame;
    }
  }
  void* frame = std::malloc(size_class * kClassBytes);
  if (frame == nullptr) std::abort();  // out of memory ends the process
  return frame;
}

void FrameCache::release(void* frame, std::size_t bytes) noexcept {
  const std::size_t size_class = (bytes + kClassBytes - 1) / kClassBytes;
  if (size_class >= kClasses) {
    std::free(frame);
    return;
  }
  void*& head = free_lists().heads[size_class];
  *static_cast<void**>(frame) = head;
  head = frame;
}

}  // namespace rooster::detail
