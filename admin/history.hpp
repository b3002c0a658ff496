// What the ledger says of an app, read backwards: its last wake with its outcome, its last stop.
#pragma once

#include "machines/ledger.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace rooster::admin {

/// Pointers into the ledger that was asked; null where it says nothing.
struct LastWake {
  const machines::LedgerEntry* wake = nullptr;
  const machines::LedgerEntry* outcome = nullptr;  ///< Ready or WakeFailed; null while it goes on

  /// From the wake to ready; nullopt while it goes on and where it failed.
  std::optional<std::chrono::milliseconds> took() const;
};

/// `ledger`: one app's entries, newest first.
LastWake find_last_wake(const std::vector<machines::LedgerEntry>& ledger);
/// Why the machine that ended last did: its Stop, else its Suspended or Exit.
const machines::LedgerEntry* find_last_stop(const std::vector<machines::LedgerEntry>& ledger);

/// "2025-05-27T12:29:13.042Z by 203.0.113.7: GET /; ready after 350ms"
std::string wake_text(const LastWake& wake);
/// "idle for 5m0s", "stopped by an operator", "its process exited with code: 3"
std::string stop_reason(const machines::LedgerEntry& stop);
/// "2025-05-27T12:29:13.042Z machine 908027d3be7938: idle for 5m0s"
std::string stop_text(const machines::LedgerEntry& stop);

}  // namespace rooster::admin
