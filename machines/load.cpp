#include "machines/load.hpp"

#include <algorithm>
#include <bit>
#include <cassert>

namespace rooster::machines {
namespace {

// generation 63..48 | closed 47 | takes 46..24 | in-flight 23..0
constexpr std::uint64_t kInFlightMask = (std::uint64_t{1} << 24) - 1;
constexpr std::uint64_t kTakesMask = (std::uint64_t{1} << 23) - 1;
constexpr std::uint64_t kClosedBit = std::uint64_t{1} << 47;

constexpr std::uint64_t bit_of(WorkerId worker) {
  return std::uint64_t{1} << (worker.value % kMaxWorkers);
}

}  // namespace

LoadWord LoadWord::unpack(std::uint64_t word) {
  return {.generation = static_cast<std::uint16_t>(word >> 48),
          .closed = (word & kClosedBit) != 0,
          .takes = static_cast<std::uint32_t>((word >> 24) & kTakesMask),
          .in_flight = static_cast<std::uint32_t>(word & kInFlightMask)};
}

std::uint64_t LoadWord::pack() const {
  return (std::uint64_t{generation} << 48) | (closed ? kClosedBit : 0) |
         ((takes & kTakesMask) << 24) | (in_flight & kInFlightMask);
}

bool MachineLoad::try_take(std::uint16_t generation, std::uint32_t limit) {
  const std::uint64_t ceiling = std::min<std::uint64_t>(limit, kInFlightMask);
  std::uint64_t seen = word_.load(std::memory_order_seq_cst);
  for (;;) {
    LoadWord word = LoadWord::unpack(seen);
    if (word.closed || word.generation != generation || word.in_flight >= ceiling) return false;
    ++word.takes;
    ++word.in_flight;
    // seq_cst, not acquire: a gate sets its waiters bit and then looks here, a releaser changes the
    // word and then looks at the bits; only a total order over both keeps one of them from missing
    // the other.
    if (word_.compare_exchange_weak(seen, word.pack(), std::memory_order_seq_cst)) return true;
  }
}

void MachineLoad::release() {
  std::uint64_t seen = word_.load(std::memory_order_acquire);
  for (;;) {
    LoadWord word = LoadWord::unpack(seen);
    assert(word.in_flight > 0);
    // Stored before the drop, so that who reads in-flight 0 reads this idle_since or a later one.
    // Only the last holder can see 1, and its stale store can't outlive it: a later last holder has
    // acquired its release.
    if (word.in_flight == 1) idle_since_.store(boot_milliseconds(), std::memory_order_relaxed);
    --word.in_flight;
    // seq_cst for the same reason as in try_take (it is also the release that publishes
    // idle_since).
    if (word_.compare_exchange_weak(seen, word.pack(), std::memory_order_seq_cst)) return;
  }
}

std::uint32_t MachineLoad::connection_limit() const {
  return std::min(window_.load(std::memory_order_relaxed),
                  connection_cap_.load(std::memory_order_relaxed));
}

bool MachineLoad::try_open_connection() {
  // Relaxed throughout: these are bounds, nothing is published through them.
  std::uint32_t open = connections_.load(std::memory_order_relaxed);
  while (open < connection_limit()) {
    if (connections_.compare_exchange_weak(open, open + 1, std::memory_order_relaxed)) return true;
  }
  return false;
}

void MachineLoad::close_connection() {
  [[maybe_unused]] std::uint32_t before = connections_.fetch_sub(1, std::memory_order_relaxed);
  assert(before > 0);
}

void MachineLoad::response_seen() {
  std::uint32_t window = window_.load(std::memory_order_relaxed);
  if (window >= connection_cap_.load(std::memory_order_relaxed)) return;
  if (responses_in_window_.fetch_add(1, std::memory_order_relaxed) + 1 < window) return;
  if (window_.compare_exchange_strong(window, window * 2, std::memory_order_relaxed)) {
    responses_in_window_.store(0, std::memory_order_relaxed);
  }
}

std::uint32_t MachineLoad::in_flight_limit(const config::Concurrency& concurrency,
                                           bool connection_each) const {
  const std::uint32_t awake = awake_.load(std::memory_order_relaxed);
  std::uint32_t limit = concurrency.hard_limit > 0 ? concurrency.hard_limit + awake : UINT32_MAX;
  if (!connection_each) return limit;
  return std::min(limit, connection_limit() + tunnels_.load(std::memory_order_relaxed) + awake);
}

void MachineLoad::add_waiter(WorkerId worker) {
  waiters_mask_.fetch_or(bit_of(worker), std::memory_order_seq_cst);
}

void MachineLoad::remove_waiter(WorkerId worker) {
  waiters_mask_.fetch_and(~bit_of(worker), std::memory_order_seq_cst);
}

std::optional<WorkerId> MachineLoad::next_waiting_worker() {
  std::uint64_t mask = waiters_mask_.load(std::memory_order_seq_cst);
  if (mask == 0) return std::nullopt;
  std::uint32_t first = (last_told_.load(std::memory_order_relaxed) + 1) % kMaxWorkers;
  int skip = std::countr_zero(std::rotr(mask, static_cast<int>(first)));
  std::uint32_t next = (first + static_cast<std::uint32_t>(skip)) % kMaxWorkers;
  last_told_.store(next, std::memory_order_relaxed);
  return WorkerId{static_cast<std::uint8_t>(next)};
}

std::uint16_t MachineLoad::reopen(std::int64_t now_boot_ms) {
  window_.store(limits::kSlowStartConnections, std::memory_order_relaxed);
  responses_in_window_.store(0, std::memory_order_relaxed);
  idle_since_.store(now_boot_ms, std::memory_order_relaxed);
  std::uint64_t seen = word_.load(std::memory_order_acquire);
  for (;;) {
    LoadWord word = LoadWord::unpack(seen);
    assert(word.closed);
    ++word.generation;
    word.closed = false;
    // Releases the stores above to whoever takes the first lease.
    if (word_.compare_exchange_weak(seen, word.pack(), std::memory_order_seq_cst)) {
      return word.generation;
    }
  }
}

void MachineLoad::reopen_same(std::int64_t now_boot_ms) {
  idle_since_.store(now_boot_ms, std::memory_order_relaxed);
  word_.fetch_and(~kClosedBit, std::memory_order_seq_cst);
}

bool MachineLoad::close_if_idle(std::int64_t now_boot_ms, std::chrono::milliseconds idle_timeout) {
  std::uint64_t seen = word_.load(std::memory_order_acquire);
  LoadWord word = LoadWord::unpack(seen);
  if (word.closed || word.in_flight > 0) return false;
  // Acquired with the word: the idle_since of the drop that made it zero, or of a later one.
  if (now_boot_ms - idle_since() < idle_timeout.count()) return false;
  word.closed = true;
  // Fails if so much as one lease came and went since the read: the take counter differs.
  return word_.compare_exchange_strong(seen, word.pack(), std::memory_order_seq_cst);
}

void MachineLoad::close() {
  word_.fetch_or(kClosedBit, std::memory_order_seq_cst);
}

void MachineLoad::set_connection_cap(std::uint32_t cap) {
  connection_cap_.store(std::max<std::uint32_t>(cap, 1), std::memory_order_relaxed);
}

std::uint32_t connection_cap(const config::Concurrency& concurrency) {
  if (concurrency.hard_limit > 0) return concurrency.hard_limit;
  return std::max<std::uint32_t>(concurrency.soft_limit, limits::kUpstreamConnections);
}

}  // namespace rooster::machines
