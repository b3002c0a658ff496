// FailureLimit: how often a source may fail in a minute before it has to wait. Pure and bounded.
#pragma once

#include "core/address.hpp"
#include "core/time.hpp"

#include <cstddef>
#include <map>

namespace rooster::cluster {

class FailureLimit {
 public:
  static constexpr std::size_t kMostFailures = 10;
  static constexpr auto kWindow = std::chrono::minutes(1);
  static constexpr std::size_t kMostSources = 4096;

  /// May `source` (an IPv4 address, or the /64 of an IPv6 one) try again?
  bool may_try(const IpAddress& source, WallTime now);
  void failed(const IpAddress& source, WallTime now);

 private:
  struct Window {
    WallTime until{};
    std::size_t failures = 0;
  };
  std::map<IpAddress, Window> windows_;
};

}  // namespace rooster::cluster
