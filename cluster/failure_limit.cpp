#include "cluster/failure_limit.hpp"

#include "core/private_address.hpp"

namespace rooster::cluster {
namespace {

// Who has one address of a /64 has them all.
IpAddress source_key(const IpAddress& source) {
  return source.is_v4() || is_private(source) ? source : prefix_of(source, 64);
}

}  // namespace

bool FailureLimit::may_try(const IpAddress& source, WallTime now) {
  const auto found = windows_.find(source_key(source));
  if (found == windows_.end()) return true;
  // A clock that was set back must not lock anybody out for longer.
  if (found->second.until <= now || found->second.until > now + kWindow) {
    windows_.erase(found);
    return true;
  }
  return found->second.failures < kMostFailures;
}

void FailureLimit::failed(const IpAddress& source, WallTime now) {
  if (windows_.size() >= kMostSources) {
    std::erase_if(windows_, [now](const auto& entry) { return entry.second.until <= now; });
    if (windows_.size() >= kMostSources) windows_.clear();
  }
  Window& window = windows_[source_key(source)];
  if (window.until <= now) window = {.until = now + kWindow, .failures = 0};
  ++window.failures;
}

}  // namespace rooster::cluster
