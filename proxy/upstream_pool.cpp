#include "proxy/upstream_pool.hpp"

#include "core/limits.hpp"

#include <algorithm>

namespace rooster::proxy {

UpstreamConnectionPtr UpstreamPool::take(const UpstreamKey& key, TimePoint now, Duration max_age) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return nullptr;
  auto& idle = found->second;
  while (!idle.empty()) {
    if (now - idle.back()->idle_since >= max_age) return nullptr;  // those below are older still
    UpstreamConnectionPtr connection = std::move(idle.back());
    idle.pop_back();
    --idle_;
    // Readable while idle: the app closed it, or said something that nobody asked for.
    constexpr std::uint8_t kStale = Pollable::kReadable | Pollable::kPeerClosed | Pollable::kBroken;
    if (!connection->stream.pollable().is(kStale)) return connection;
  }
  return nullptr;
}

void UpstreamPool::give_back(UpstreamConnectionPtr connection, TimePoint now) {
  if (idle_ >= max_idle_) return;
  const UpstreamKey key{connection->load.get(), connection->generation, connection->port};
  auto& idle = by_key_[key];
  if (idle.size() >= max_idle_each_) return;
  connection->idle_since = now;
  idle.push_back(std::move(connection));
  ++idle_;
}

void UpstreamPool::sweep(TimePoint now) {
  for (auto entry = by_key_.begin(); entry != by_key_.end();) {
    auto& idle = entry->second;
    const auto fresh = std::find_if(idle.begin(), idle.end(), [now](const auto& connection) {
      return now - connection->idle_since < limits::kPoolIdle;
    });
    idle_ -= static_cast<std::size_t>(fresh - idle.begin());
    idle.erase(idle.begin(), fresh);
    entry = idle.empty() ? by_key_.erase(entry) : std::next(entry);
  }
}

void UpstreamPool::drop(const machines::MachineLoad& load) {
  for (auto entry = by_key_.begin(); entry != by_key_.end();) {
    if (entry->first.load == &load) {
      idle_ -= entry->second.size();
      entry = by_key_.erase(entry);
    } else {
      ++entry;
    }
  }
}

void UpstreamPool::drop_oldest(std::size_t count) {
  while (count > 0 && idle_ > 0) {
    auto oldest = by_key_.end();
    for (auto entry = by_key_.begin(); entry != by_key_.end(); ++entry) {
      if (entry->second.empty()) continue;
      if (oldest == by_key_.end() ||
          entry->second.front()->idle_since < oldest->second.front()->idle_since) {
        oldest = entry;
      }
    }
    auto& idle = oldest->second;
    const std::size_t closed = std::min(count, idle.size());
    idle.erase(idle.begin(), idle.begin() + static_cast<std::ptrdiff_t>(closed));
    idle_ -= closed;
    count -= closed;
  }
}

}  // namespace rooster::proxy
