// The Fly-Request-Id: a ULID and the edge's region, e.g. "01JW8ZQX7M3N5R2T4V6Y8B0D1F-gru".
#pragma once

#include "core/time.hpp"

#include <array>
#include <cstdint>
#include <string_view>

namespace rooster::proxy {

/// One id, by value in the exchange.
class RequestId {
 public:
  static constexpr std::size_t kMaxRegion = 12;
  static constexpr std::size_t kUlid = 26;

  std::string_view view() const { return {text_.data(), size_}; }

 private:
  friend class RequestIdSource;
  std::array<char, kUlid + 1 + kMaxRegion> text_{};
  std::uint8_t size_ = 0;
};

/// Makes ids; one per worker, seeded by getrandom. Not for secrets.
class RequestIdSource {
 public:
  /// `region` is cut to RequestId::kMaxRegion.
  explicit RequestIdSource(std::string_view region);

  RequestId next(WallTime now);

 private:
  std::uint64_t random();

  std::array<std::uint64_t, 4> state_{};
  RequestId blank_;
};

}  // namespace rooster::proxy
