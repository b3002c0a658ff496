#include "admin/lifecycle_metrics.hpp"

#include <algorithm>
#include <chrono>
#include <ranges>
#include <variant>
#include <vector>

namespace rooster::admin {
namespace {

using machines::LedgerEntry;

bool is_same(const LedgerEntry& a, const LedgerEntry& b) {
  return a.at == b.at && a.app == b.app && a.kind == b.kind && a.machine == b.machine;
}

// The entries behind `last`, newest first. One turn adds few: looking further back is rare.
std::vector<LedgerEntry> entries_after(const machines::Ledger& ledger,
                                       const std::optional<LedgerEntry>& last) {
  for (std::size_t count = 1;; count *= 8) {
    std::vector<LedgerEntry> found = ledger.latest(count);
    if (last) {
      const auto known = std::ranges::find_if(
          found, [&last](const LedgerEntry& entry) { return is_same(entry, *last); });
      if (known != found.end()) {
        found.erase(known, found.end());
        return found;
      }
    }
    if (found.size() < count) return found;
  }
}

}  // namespace

void LifecycleMetrics::count(const machines::Output& output, const machines::Ledger& ledger,
                             MetricSeconds now) {
  for (const machines::DriverCommand& command : output.commands) {
    if (const auto* start = std::get_if<machines::StartMachine>(&command)) {
      metrics_.apps.of(start->app, now).starts.add();
    } else if (const auto* resume = std::get_if<machines::ResumeMachine>(&command)) {
      metrics_.apps.of(resume->app, now).starts.add();
    }
  }
  for (const machines::AppViewPtr& view : output.facts) {
    // An address is up for all we know, and 100 000 of them would each have series for ever.
    if (view->config->driver() == config::DriverKind::Address) continue;
    const auto up = std::ranges::count(view->machines, true, &machines::MachineView::awake);
    // An app that only sleeps makes no series.
    if (up > 0 || was_up_.contains(view->id)) {
      metrics_.apps.of(view->id, now).machines_up.set(view->removed ? 0 : up);
    }
    if (up > 0 && !view->removed) {
      was_up_.insert(view->id);
    } else {
      was_up_.erase(view->id);
    }
  }
  const std::vector<LedgerEntry> entries = entries_after(ledger, last_);
  for (const LedgerEntry& entry : std::views::reverse(entries)) count(entry, now);
  if (!entries.empty()) last_ = entries.front();
}

void LifecycleMetrics::count(const LedgerEntry& entry, MetricSeconds now) {
  AppLifecycle& app = metrics_.apps.of(entry.app, now);
  switch (entry.kind) {
    case LedgerEntry::Kind::Wake:
      waking_.try_emplace(entry.app, entry.at);
      stopping_.erase(entry.machine);  // a stop that was taken back
      return;
    case LedgerEntry::Kind::Ready:
      app.wakes.add();
      if (const auto wake = waking_.extract(entry.app)) {
        app.wake_time.add(
            std::chrono::duration_cast<std::chrono::microseconds>(entry.at - wake.mapped()));
      }
      return;
    case LedgerEntry::Kind::WakeFailed:
      app.failed_wakes.add();
      waking_.erase(entry.app);
      return;
    case LedgerEntry::Kind::Stop:
      stopping_.insert(entry.machine);
      return;
    case LedgerEntry::Kind::Stopped:
      return;
    case LedgerEntry::Kind::Suspended:
      app.suspends.add();
      stopping_.erase(entry.machine);
      return;
    case LedgerEntry::Kind::Exit:
      (stopping_.erase(entry.machine) != 0 ? app.stops : app.exits).add();
      return;
  }
}

}  // namespace rooster::admin
