#include "machines/prewake_budget.hpp"

#include <algorithm>
#include <cstddef>
#include <iterator>

namespace rooster::machines {

PrewakeBudget::Network PrewakeBudget::network_of(const IpAddress& source) {
  Network network = source.bytes();
  const std::size_t kept = source.is_v4() ? 15 : 6;  // a mapped /24, or a /48
  std::fill(network.begin() + static_cast<std::ptrdiff_t>(kept), network.end(), std::uint8_t{0});
  return network;
}

void PrewakeBudget::fill(Bucket& bucket, TimePoint now) {
  const double seconds = std::chrono::duration<double>(now - bucket.filled).count();
  bucket.tokens = std::min(kBurst, bucket.tokens + std::max(seconds, 0.0));
  bucket.filled = now;
}

// Null: too many sources are known, and none of them is as good as new.
PrewakeBudget::Bucket* PrewakeBudget::bucket_of(const IpAddress& source, TimePoint now) {
  const Network network = network_of(source);
  if (const auto found = sources_.find(network); found != sources_.end()) return &found->second;
  if (sources_.size() >= kMaxSources) {
    for (auto entry = sources_.begin(); entry != sources_.end();) {
      fill(entry->second, now);
      entry = entry->second.tokens >= kBurst ? sources_.erase(entry) : std::next(entry);
    }
    if (sources_.size() >= kMaxSources) return nullptr;
  }
  return &sources_.emplace(network, Bucket{.filled = now}).first->second;
}

bool PrewakeBudget::take(const IpAddress& source, AppId app, Duration per_app, TimePoint now) {
  const auto next = next_.find(app);
  if (next != next_.end() && now < next->second) return false;
  Bucket* const bucket = bucket_of(source, now);
  if (bucket == nullptr) return false;
  fill(*bucket, now);
  if (bucket->tokens < bucket->cost) return false;
  bucket->tokens -= bucket->cost;
  next_[app] = now + per_app;
  return true;
}

void PrewakeBudget::wasted(const IpAddress& source) {
  const auto found = sources_.find(network_of(source));
  if (found != sources_.end()) found->second.cost = std::min(found->second.cost * 2, kBurst);
}

void PrewakeBudget::useful(const IpAddress& source) {
  const auto found = sources_.find(network_of(source));
  if (found != sources_.end()) found->second.cost = 1;
}

}  // namespace rooster::machines
