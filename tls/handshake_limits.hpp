// HandshakeLimits: how many TLS handshakes a range of addresses may begin, and how many may name
// one server. A handshake costs us a hundred times what it costs who asks. Pure: time is an
// argument. Each worker has its own, of fixed size.
#pragma once

#include "core/address.hpp"
#include "core/time.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace rooster::tls {

/// Token buckets by key, in a table that never grows: where a set is full, the bucket that has
/// recovered most makes room.
class BucketTable {
 public:
  BucketTable(double per_second, double burst, std::uint64_t seed);
  /// Takes a token of `key`'s bucket. False: it is empty.
  bool take(std::uint64_t key, TimePoint now);

  static constexpr std::size_t kSets = 1024;
  static constexpr std::size_t kWays = 4;

 private:
  struct Bucket {
    std::uint64_t key = 0;
    double tokens = 0;
    TimePoint filled{};
    bool is_used = false;
  };
  double tokens_of(const Bucket& bucket, TimePoint now) const;

  double per_second_;
  double burst_;
  std::uint64_t seed_;  // which keys share a set is not for senders to choose
  std::vector<std::array<Bucket, kWays>> sets_;
};

class HandshakeLimits {
 public:
  /// The limits are the process's; `workers` share them, as the kernel spreads connections evenly.
  HandshakeLimits(std::size_t workers, std::uint64_t seed);
  /// May a handshake that names `sni` ("": none) go on? A source over its limit takes nothing of
  /// the name's.
  bool take(const IpAddress& source, std::string_view sni, TimePoint now);
  /// A /24 or a /48, as one number.
  static std::uint64_t range_of(const IpAddress& source);

 private:
  BucketTable ranges_;
  BucketTable names_;
};

}  // namespace rooster::tls
