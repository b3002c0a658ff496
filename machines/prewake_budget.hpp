// PrewakeBudget: how often a TLS hello alone may wake an app. A name is free to put into a hello,
// and scanners put in every name they find: each source has a token bucket, each app one start per
// idle_timeout. Pure: time is an argument.
#pragma once

#include "core/address.hpp"
#include "core/ids.hpp"
#include "core/time.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <unordered_map>

namespace rooster::machines {

class PrewakeBudget {
 public:
  static constexpr double kBurst = 5;  ///< tokens; one comes back each second
  static constexpr std::size_t kMaxSources = 4096;

  /// May `source` wake `app` now? Takes the tokens if so.
  bool take(const IpAddress& source, AppId app, Duration per_app, TimePoint now);
  /// No request followed: its source pays double from now on, up to a whole bucket.
  void wasted(const IpAddress& source);
  /// A request followed: its source pays one token again.
  void useful(const IpAddress& source);
  void forget(AppId app) { next_.erase(app); }

 private:
  struct Bucket {
    double tokens = kBurst;
    double cost = 1;
    TimePoint filled{};
  };
  using Network = std::array<std::uint8_t, 16>;
  static Network network_of(const IpAddress& source);
  Bucket* bucket_of(const IpAddress& source, TimePoint now);
  static void fill(Bucket& bucket, TimePoint now);

  std::map<Network, Bucket> sources_;  // by /24 or /48
  std::unordered_map<AppId, TimePoint> next_;
};

}  // namespace rooster::machines
