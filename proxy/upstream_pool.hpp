// UpstreamPool: one worker's connections to machines that wait for their next request. Last in,
// first out; a connection that the app has closed is known by its readiness, without a syscall.
#pragma once

#include "core/stream.hpp"
#include "core/time.hpp"
#include "machines/app_view.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

namespace rooster::proxy {

/// One connection to one port of a machine. Owned by an exchange, or idle in the pool.
struct UpstreamConnection {
  UpstreamConnection(Loop& loop, Descriptor fd, std::uint8_t ready,
                     std::shared_ptr<machines::MachineLoad> load_, std::uint16_t generation_,
                     std::uint16_t port_)
      : stream(loop, std::move(fd), ready),
        load(std::move(load_)),
        generation(generation_),
        port(port_) {}

  Stream stream;
  std::shared_ptr<machines::MachineLoad> load;
  std::uint16_t generation;  ///< of the machine's start: a connection never outlives it
  std::uint16_t port;
  std::uint32_t responses = 0;
  TimePoint idle_since{};
};
using UpstreamConnectionPtr = std::unique_ptr<UpstreamConnection>;

/// What makes connections interchangeable.
struct UpstreamKey {
  const machines::MachineLoad* load;
  std::uint16_t generation;
  std::uint16_t port;
  friend bool operator==(const UpstreamKey&, const UpstreamKey&) = default;
};

struct UpstreamKeyHash {
  std::size_t operator()(const UpstreamKey& key) const noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(key.load);
    return (address >> 6) ^ (std::size_t{key.port} << 20) ^ key.generation;
  }
};

class UpstreamPool {
 public:
  /// At most `max_idle` connections in all, and `max_idle_each` per machine port.
  UpstreamPool(std::size_t max_idle, std::size_t max_idle_each)
      : max_idle_(max_idle), max_idle_each_(max_idle_each) {}

  /// The connection used last, idle for less than `max_age`; nullptr: none.
  UpstreamConnectionPtr take(const UpstreamKey& key, TimePoint now, Duration max_age);
  /// Keeps it for the next request, or closes it where the bounds say so.
  void give_back(UpstreamConnectionPtr connection, TimePoint now);
  /// Closes what has been idle for too long. Call about once a second.
  void sweep(TimePoint now);
  /// Closes the idle connections of a machine that is being stopped or suspended.
  void drop(const machines::MachineLoad& load);
  /// Closes the ones idle longest, of any machine, until `count` are closed.
  void drop_oldest(std::size_t count);

  std::size_t idle() const { return idle_; }

 private:
  std::size_t max_idle_;
  std::size_t max_idle_each_;
  std::size_t idle_ = 0;
  std::unordered_map<UpstreamKey, std::vector<UpstreamConnectionPtr>, UpstreamKeyHash> by_key_;
};

}  // namespace rooster::proxy
