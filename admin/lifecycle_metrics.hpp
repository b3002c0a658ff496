// LifecycleMetrics: from what the coordinator did to the apps' counters of wakes, starts, stops and
// exits.
#pragma once

#include "core/metrics.hpp"
#include "machines/coordinator.hpp"
#include "machines/ledger.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>

namespace rooster::admin {

/// Control's thread; call count() with every Output of the coordinator.
class LifecycleMetrics {
 public:
  explicit LifecycleMetrics(ControlMetrics& metrics) : metrics_(metrics) {}

  /// Counts the commands and facts of `output` and the entries that `ledger` got since the last
  /// call.
  void count(const machines::Output& output, const machines::Ledger& ledger, MetricSeconds now);

 private:
  void count(const machines::LedgerEntry& entry, MetricSeconds now);

  ControlMetrics& metrics_;
  std::optional<machines::LedgerEntry> last_;   // the newest entry that was counted
  std::unordered_map<AppId, WallTime> waking_;  // since when
  std::unordered_set<AppId> was_up_;            // apps with a machine that runs
  std::unordered_set<std::string> stopping_;    // machines whose exit is no surprise
};

}  // namespace rooster::admin
