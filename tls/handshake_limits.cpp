#include "tls/handshake_limits.hpp"

#include "core/limits.hpp"

#include <algorithm>
#include <chrono>
#include <functional>

namespace rooster::tls {

namespace {

// splitmix64's last step: every bit of the key moves every bit of the set's number.
std::uint64_t mix(std::uint64_t key) {
  key = (key ^ key >> 30) * 0xBF58476D1CE4E5B9ull;
  key = (key ^ key >> 27) * 0x94D049BB133111EBull;
  return key ^ key >> 31;
}

double share(std::size_t in_all, std::size_t workers) {
  return static_cast<double>(in_all) / static_cast<double>(std::max<std::size_t>(workers, 1));
}

}  // namespace

BucketTable::BucketTable(double per_second, double burst, std::uint64_t seed)
    : per_second_(per_second), burst_(burst), seed_(seed), sets_(kSets) {}

double BucketTable::tokens_of(const Bucket& bucket, TimePoint now) const {
  if (!bucket.is_used) return burst_;
  const double seconds = std::chrono::duration<double>(now - bucket.filled).count();
  return std::min(burst_, bucket.tokens + std::max(seconds, 0.0) * per_second_);
}

bool BucketTable::take(std::uint64_t key, TimePoint now) {
  auto& set = sets_[mix(key ^ seed_) % kSets];
  auto bucket =
      std::ranges::find_if(set, [key](const Bucket& one) { return one.is_used && one.key == key; });
  if (bucket == set.end()) {
    bucket = std::ranges::max_element(
        set, {}, [this, now](const Bucket& one) { return tokens_of(one, now); });
    *bucket = {.key = key, .tokens = burst_, .filled = now, .is_used = true};
  }
  bucket->tokens = tokens_of(*bucket, now);
  bucket->filled = now;
  if (bucket->tokens < 1) return false;
  bucket->tokens -= 1;
  return true;
}

HandshakeLimits::HandshakeLimits(std::size_t workers, std::uint64_t seed)
    : ranges_(share(limits::kHandshakesPerRange, workers),
              share(limits::kHandshakeBurstPerRange, workers), seed),
      names_(share(limits::kHandshakesPerName, workers),
             share(limits::kHandshakeBurstPerName, workers), seed + 1) {}

std::uint64_t HandshakeLimits::range_of(const IpAddress& source) {
  const auto& bytes = source.bytes();
  const std::size_t first = source.is_v4() ? 12 : 0;
  const std::size_t count = source.is_v4() ? 3 : 6;
  std::uint64_t range = source.is_v4() ? 4 : 6;
  for (std::size_t i = 0; i < count; ++i) range = range << 8 | bytes[first + i];
  return range;
}

bool HandshakeLimits::take(const IpAddress& source, std::string_view sni, TimePoint now) {
  if (!ranges_.take(range_of(source), now)) return false;
  return sni.empty() || names_.take(std::hash<std::string_view>{}(sni), now);
}

}  // namespace rooster::tls
