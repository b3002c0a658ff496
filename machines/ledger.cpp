#include "machines/ledger.hpp"

#include <utility>

namespace rooster::machines {

std::string_view to_string(LedgerEntry::Kind kind) {
  switch (kind) {
    case LedgerEntry::Kind::Wake:
      return "wake";
    case LedgerEntry::Kind::Ready:
      return "ready";
    case LedgerEntry::Kind::WakeFailed:
      return "wake_failed";
    case LedgerEntry::Kind::Stop:
      return "stop";
    case LedgerEntry::Kind::Stopped:
      return "stopped";
    case LedgerEntry::Kind::Suspended:
      return "suspended";
    case LedgerEntry::Kind::Exit:
      return "exit";
  }
  std::unreachable();
}

void Ledger::add(LedgerEntry entry) {
  if (entries_.size() >= capacity_) entries_.pop_front();
  entries_.push_back(std::move(entry));
}

std::vector<LedgerEntry> Ledger::latest(std::size_t count) const {
  std::vector<LedgerEntry> found;
  for (auto entry = entries_.rbegin(); entry != entries_.rend() && found.size() < count; ++entry) {
    found.push_back(*entry);
  }
  return found;
}

std::vector<LedgerEntry> Ledger::latest_of(AppId app, std::size_t count) const {
  std::vector<LedgerEntry> found;
  for (auto entry = entries_.rbegin(); entry != entries_.rend() && found.size() < count; ++entry) {
    if (entry->app == app) found.push_back(*entry);
  }
  return found;
}

}  // namespace rooster::machines
