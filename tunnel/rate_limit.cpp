#include "tunnel/rate_limit.hpp"

#include <algorithm>
#include <chrono>

namespace rooster::tunnel {
namespace {

using namespace std::chrono_literals;

constexpr Duration kCost = 50ms;  // 20 a second
constexpr Duration kFull = 5 * kCost;
constexpr std::size_t kMaxSources = 4096;

}  // namespace

bool RateLimit::take(const IpAddress& source, TimePoint now) {
  Source key = source.bytes();
  if (!source.is_v4()) std::fill(key.begin() + 8, key.end(), std::uint8_t{0});
  auto found = buckets_.find(key);
  if (found == buckets_.end()) {
    if (buckets_.size() >= kMaxSources) sweep(now);
    if (buckets_.size() >= kMaxSources) return false;
    found = buckets_.emplace(key, Bucket{kFull, now}).first;
  }
  Bucket& bucket = found->second;
  bucket.credit = std::min<Duration>(kFull, bucket.credit + (now - bucket.since));
  bucket.since = now;
  if (bucket.credit < kCost) return false;
  bucket.credit -= kCost;
  return true;
}

// A bucket that is full again says nothing. Not more often than that can have happened.
void RateLimit::sweep(TimePoint now) {
  if (now - swept_ < kFull) return;
  swept_ = now;
  std::erase_if(buckets_, [now](const auto& entry) {
    return entry.second.credit + (now - entry.second.since) >= kFull;
  });
}

bool LoadMeter::count(TimePoint now) {
  constexpr Duration kWindow = 1s;
  if (now - window_ >= kWindow) {
    window_ = now;
    counted_ = 0;
  }
  if (++counted_ > limit_) loaded_until_ = now + kWindow;
  return now < loaded_until_;
}

}  // namespace rooster::tunnel
