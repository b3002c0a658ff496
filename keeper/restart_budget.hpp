// RestartBudget: how often something that dies is started again. Pure.
#pragma once

#include "core/time.hpp"

#include <algorithm>

namespace rooster::keeper {

class RestartBudget {
 public:
  /// Some deaths at once are forgiven; one more with each of these.
  static constexpr int kAtOnce = 16;
  static constexpr Duration kEach = std::chrono::seconds(10);

  /// It died at `now`: when it may be started again.
  TimePoint take(TimePoint now) {
    due_ = std::max(due_, now - (kAtOnce - 1) * kEach);
    const TimePoint at = std::max(due_, now);
    due_ += kEach;
    return at;
  }

 private:
  TimePoint due_{};  // the next one's turn, were they evenly spaced
};

}  // namespace rooster::keeper
