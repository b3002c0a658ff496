// StartWatch: knows when the node was started, so that a lost connection can be told from one whose
// gateway restarted.
#pragma once

#include "cli/way.hpp"

#include <string>

namespace rooster::cli {

class StartWatch {
 public:
  static constexpr const char* kRestarted = "the gateway restarted";
  explicit StartWatch(Way& way) : way_(way) {}

  /// Asks for the first time; what fails is asked again later.
  Task<> begin(Waiter& waiter);
  /// Has the node restarted a moment ago? Asks it once for all that want to know at the same time;
  /// takes a few seconds at most.
  Task<bool> has_restarted(Waiter& waiter);
  /// Why connections were just lost: "the gateway restarted", what the way knows, or "".
  Task<std::string> why_lost(Waiter& waiter);

 private:
  Task<std::string> ask(Waiter& waiter, TimePoint deadline);

  Way& way_;
  std::string started_;
  bool is_asking_ = false;
  TimePoint answered_at_{};
  TimePoint restarted_at_{};
};

}  // namespace rooster::cli
