// Poller: the keeper's epoll set. What is watched is named by its source and a serial, never by a
// pointer, so an event for something already gone finds nothing.
#pragma once

#include "core/descriptor.hpp"
#include "core/time.hpp"

#include <array>
#include <cstdint>
#include <span>

namespace rooster::keeper {

enum class Source : std::uint8_t { Signals, Channel, Report, Output, Hub, ExecReport };

struct ReadySource {
  Source source = Source::Signals;
  std::uint64_t serial = 0;
};

class Poller {
 public:
  Poller();
  bool is_usable() const { return static_cast<bool>(set_); }
  /// Level-triggered.
  bool watch(int fd, Source source, std::uint64_t serial = 0);
  void set_wants_io(int fd, Source source, bool read, bool write);
  /// Must come before the descriptor is closed: a duplicate elsewhere would keep it in the set.
  void forget(int fd);
  /// What is ready, at the latest at `deadline`.
  std::span<const ReadySource> wait(TimePoint deadline);

 private:
  static constexpr std::size_t kPerTurn = 64;
  Descriptor set_;
  std::array<ReadySource, kPerTurn> ready_;
};

}  // namespace rooster::keeper
