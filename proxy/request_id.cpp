#include "proxy/request_id.hpp"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>

#include <sys/random.h>

namespace rooster::proxy {
namespace {

constexpr std::string_view kCrockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

// `count` base-32 digits of the low bits of `bits`, most significant first.
void put_digits(char* out, std::uint64_t bits, int count) {
  for (int i = count - 1; i >= 0; --i) {
    out[i] = kCrockford[bits & 31U];
    bits >>= 5U;
  }
}

}  // namespace

RequestIdSource::RequestIdSource(std::string_view region) {
  // A short read can't happen below 256 bytes (getrandom(2)); without a seed the ids would only
  // repeat.
  if (getrandom(state_.data(), sizeof state_, 0) != static_cast<ssize_t>(sizeof state_)) {
    state_ = {1, 2, 3, static_cast<std::uint64_t>(Clock::now().time_since_epoch().count())};
  }
  region = region.substr(0, RequestId::kMaxRegion);
  blank_.text_[RequestId::kUlid] = '-';
  std::ranges::copy(region, blank_.text_.begin() + RequestId::kUlid + 1);
  blank_.size_ =
      static_cast<std::uint8_t>(RequestId::kUlid + (region.empty() ? 0 : 1) + region.size());
}

// xoshiro256++ (Blackman, Vigna 2019).
std::uint64_t RequestIdSource::random() {
  const std::uint64_t result = std::rotl(state_[0] + state_[3], 23) + state_[0];
  const std::uint64_t shifted = state_[1] << 17U;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

RequestId RequestIdSource::next(WallTime now) {
  const auto milliseconds =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
  RequestId id = blank_;
  char* text = id.text_.data();
  put_digits(text, static_cast<std::uint64_t>(milliseconds), 10);  // 48 bits of time
  put_digits(text + 10, random() >> 24U, 8);                       // 80 random bits in two halves
  put_digits(text + 18, random() >> 24U, 8);
  return id;
}

}  // namespace rooster::proxy
