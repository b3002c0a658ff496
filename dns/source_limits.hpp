// SourceLimits: what one asker may have of the recursor: questions a second, and outstanding ones.
#pragma once

#include "core/address.hpp"
#include "core/time.hpp"
#include "dns/directory.hpp"

#include <cstddef>
#include <unordered_map>

namespace rooster::dns {

class SourceLimits {
 public:
  SourceLimits(double per_second, std::size_t outstanding)
      : per_second_(per_second), outstanding_(outstanding) {}

  /// Counts one question. A machine or peer has its whole prefix's share. False: too many.
  bool ask(const IpAddress& source, TimePoint now);
  /// Takes one outstanding place until leave(). False: none is left.
  bool enter(const IpAddress& source);
  void leave(const IpAddress& source);
  std::size_t sources() const { return sources_.size(); }

 private:
  struct Source {
    double tokens = 0;
    TimePoint filled{};
    std::size_t outstanding = 0;
  };
  void forget_quiet(TimePoint now);

  double per_second_;
  std::size_t outstanding_;
  TimePoint swept_{};
  std::unordered_map<IpAddress, Source, AddressHash> sources_;
};

}  // namespace rooster::dns
