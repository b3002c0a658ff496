#include "tunnel/tai64n.hpp"

#include <algorithm>
#include <chrono>

namespace rooster::tunnel {
namespace {

// 2^62 is 1970 in TAI64; TAI was 10 s ahead of UTC then, and WireGuard stays there.
constexpr std::uint64_t kEpoch = 0x400000000000000a;
constexpr std::uint32_t kStep = 1U << 24;
constexpr std::uint32_t kSecond = 1'000'000'000;

Tai64n pack(std::uint64_t seconds, std::uint32_t nanoseconds) {
  Tai64n stamp;
  for (std::size_t byte = 0; byte < 8; ++byte) {
    stamp.bytes[byte] = static_cast<std::uint8_t>(seconds >> (56 - 8 * byte));
  }
  for (std::size_t byte = 0; byte < 4; ++byte) {
    stamp.bytes[8 + byte] = static_cast<std::uint8_t>(nanoseconds >> (24 - 8 * byte));
  }
  return stamp;
}

std::uint64_t number(const std::uint8_t* from, std::size_t size) {
  std::uint64_t value = 0;
  for (std::size_t byte = 0; byte < size; ++byte) value = value << 8 | from[byte];
  return value;
}

}  // namespace

Tai64n Tai64n::whitened(WallTime wall) {
  using std::chrono::nanoseconds;
  const auto since = std::chrono::duration_cast<nanoseconds>(wall.time_since_epoch()).count();
  if (since <= 0) return pack(kEpoch, 0);
  const auto count = static_cast<std::uint64_t>(since);
  return pack(kEpoch + count / kSecond, static_cast<std::uint32_t>(count % kSecond) & ~(kStep - 1));
}

Tai64n Tai64n::next() const {
  const std::uint64_t seconds = number(bytes.data(), 8);
  const std::uint64_t nanoseconds =
      (number(bytes.data() + 8, 4) & ~std::uint64_t{kStep - 1}) + kStep;
  if (nanoseconds >= kSecond) return pack(seconds + 1, 0);
  return pack(seconds, static_cast<std::uint32_t>(nanoseconds));
}

WallTime Tai64n::wall() const {
  const std::uint64_t seconds = number(bytes.data(), 8);
  // What no clock shows (a stamp of zeros, or one beyond the next 100 years) is the epoch.
  constexpr std::uint64_t kLatest = 4'294'967'296;
  if (seconds < kEpoch || seconds - kEpoch > kLatest) return {};
  const auto since = std::chrono::seconds(seconds - kEpoch) +
                     std::chrono::nanoseconds(number(bytes.data() + 8, 4));
  return WallTime(std::chrono::duration_cast<WallTime::duration>(since));
}

Tai64n stamp_after(const Tai64n& last, WallTime wall) {
  const Tai64n clock = Tai64n::whitened(wall);
  return last.is_zero() ? clock : std::max(clock, last.next());
}

}  // namespace rooster::tunnel
