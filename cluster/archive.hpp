// Archive: the registry's rows in SQLite (<data>/state.db). Blocks: the background thread's, and
// the start's.
#pragma once

#include "cluster/rows.hpp"
#include "core/store.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace rooster::cluster {

class Archive {
 public:
  /// So many executions are remembered.
  static constexpr std::int64_t kMostAudits = 100'000;

  /// Errors: Internal, with the file and the reason.
  static Result<Archive> open(const std::string& file);

  /// Everything but the ledger, networks first.
  Result<Rows> load();
  /// All of them or none. Errors: Internal.
  Result<> write(const Rows& rows);
  /// The newest `most`, newest first; of one app, or all ("").
  Result<std::vector<AuditEntry>> audits(std::string_view app, std::size_t most);

 private:
  explicit Archive(Store store) : store_(std::move(store)) {}

  Store store_;
};

}  // namespace rooster::cluster
