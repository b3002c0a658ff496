// Ledger: who woke what, when and why, and why it stopped. A bounded ring on the control thread,
// for `explain`.
#pragma once

#include "core/fault.hpp"
#include "core/ids.hpp"
#include "core/time.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace rooster::machines {

struct LedgerEntry {
  enum class Kind : std::uint8_t { Wake, Ready, WakeFailed, Stop, Stopped, Suspended, Exit };
  Kind kind = Kind::Wake;
  WallTime at{};
  AppId app{};
  std::string app_name{};
  std::string machine{};  ///< id; "" where no machine was chosen
  std::string source{};   ///< who: client address, "operator", "rooster"
  std::string reason{};   ///< "GET /", "idle for 5m0s", "exit code 1"
  Fault fault = Fault::None;
};

std::string_view to_string(LedgerEntry::Kind kind);

class Ledger {
 public:
  explicit Ledger(std::size_t capacity = 4096) : capacity_(capacity) {}
  void add(LedgerEntry entry);
  /// Newest first, at most `count`.
  std::vector<LedgerEntry> latest(std::size_t count) const;
  std::vector<LedgerEntry> latest_of(AppId app, std::size_t count) const;

 private:
  const std::size_t capacity_;
  std::deque<LedgerEntry> entries_;
};

}  // namespace rooster::machines
