#include "proxy/peer_load.hpp"

#include <algorithm>
#include <chrono>

namespace rooster::proxy {

bool PeerLoad::try_open(TimePoint now) {
  // Each connection moves `due_` one step on; it may run one second ahead of the time.
  const auto step = Duration(std::chrono::seconds(1)) / static_cast<int>(limits_.new_per_second);
  const Duration::rep time = now.time_since_epoch().count();
  const Duration::rep ahead = Duration(std::chrono::seconds(1)).count();
  Duration::rep due = due_.load(std::memory_order_relaxed);
  Duration::rep next = 0;
  do {
    next = std::max(due, time) + step.count();
    if (next - time > ahead) return refuse();
  } while (!due_.compare_exchange_weak(due, next, std::memory_order_relaxed));
  // Counted first, looked at then: never over the limit.
  if (connections_.fetch_add(1, std::memory_order_relaxed) < limits_.connections) return true;
  close();
  return refuse();
}

bool PeerLoad::try_wait() {
  if (waiting_.fetch_add(1, std::memory_order_relaxed) < limits_.waiting) return true;
  stop_waiting();
  return refuse();
}

}  // namespace rooster::proxy
