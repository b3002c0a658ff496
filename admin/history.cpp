#include "admin/history.hpp"

#include "admin/time_text.hpp"
#include "core/log.hpp"

namespace rooster::admin {

using machines::LedgerEntry;

std::optional<std::chrono::milliseconds> LastWake::took() const {
  if (outcome == nullptr || outcome->kind != LedgerEntry::Kind::Ready) return std::nullopt;
  return std::chrono::duration_cast<std::chrono::milliseconds>(outcome->at - wake->at);
}

LastWake find_last_wake(const std::vector<LedgerEntry>& ledger) {
  LastWake last;
  for (const LedgerEntry& entry : ledger) {
    if (entry.kind == LedgerEntry::Kind::Wake) {
      last.wake = &entry;
      return last;
    }
    // Read backwards: the oldest outcome behind the wake is its own.
    if (entry.kind == LedgerEntry::Kind::Ready || entry.kind == LedgerEntry::Kind::WakeFailed) {
      last.outcome = &entry;
    }
  }
  return {};
}

const LedgerEntry* find_last_stop(const std::vector<LedgerEntry>& ledger) {
  const LedgerEntry* end = nullptr;
  for (const LedgerEntry& entry : ledger) {
    switch (entry.kind) {
      case LedgerEntry::Kind::Stop:
        // Why it was stopped says more than how it ended.
        if (end == nullptr || end->machine == entry.machine) return &entry;
        break;
      case LedgerEntry::Kind::Exit:
      case LedgerEntry::Kind::Suspended:
        if (end == nullptr) end = &entry;
        break;
      case LedgerEntry::Kind::Ready:
        if (end != nullptr && end->machine == entry.machine) return end;
        break;
      case LedgerEntry::Kind::Wake:
      case LedgerEntry::Kind::WakeFailed:
      case LedgerEntry::Kind::Stopped:
        break;
    }
  }
  return end;
}

std::string wake_text(const LastWake& last) {
  std::string text = format_time(last.wake->at);
  if (!last.wake->source.empty()) text += " by " + last.wake->source;
  if (!last.wake->reason.empty()) text += ": " + last.wake->reason;
  if (const auto took = last.took()) return text + "; ready after " + duration_text(*took);
  if (last.outcome == nullptr) return text + "; not ready yet";
  text += "; it failed: ";
  text += describe(last.outcome->fault).token;
  if (!last.outcome->reason.empty()) text += " (" + last.outcome->reason + ')';
  return text;
}

std::string stop_reason(const LedgerEntry& stop) {
  if (stop.kind == LedgerEntry::Kind::Exit) return "its process " + stop.reason;
  return stop.source == "operator" ? "stopped by an operator" : stop.reason;
}

std::string stop_text(const LedgerEntry& stop) {
  return format_time(stop.at) + " machine " + stop.machine + ": " + stop_reason(stop);
}

}  // namespace rooster::admin
