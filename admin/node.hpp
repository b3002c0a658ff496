// What the operator's API asks of the node. app/ implements it; the values are plain copies, so
// that nothing of control's state is seen by two threads.
#pragma once

#include "config/config_set.hpp"
#include "core/error.hpp"
#include "core/fault.hpp"
#include "core/ids.hpp"
#include "core/loop.hpp"
#include "core/task.hpp"
#include "core/time.hpp"
#include "machines/app_view.hpp"
#include "machines/ledger.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace rooster::admin {

struct CheckStatus {
  std::string name;
  bool passing = false;
  std::string output;
  WallTime updated{};
};

/// What is known of a machine beside its row in the view.
struct MachineFacts {
  std::string state;  ///< Fly's words: created started stopped suspended starting stopping failed
  std::int32_t pid = 0;       ///< 0: does not run
  std::uint32_t version = 1;  ///< counts its starts under a changed configuration
  WallTime updated{};
  std::vector<CheckStatus> checks;
};

/// One app, as control saw it at one moment.
struct AppFacts {
  machines::AppViewPtr view;
  std::map<std::string, MachineFacts> machines;  ///< by id
  std::vector<machines::LedgerEntry> ledger;     ///< newest first, the last few
  std::size_t waiting = 0;
};

struct NodeStatus {
  std::string region;
  std::string domain;
  std::string config_file;
  WallTime started{};
  std::size_t workers = 0;
  std::size_t apps = 0;
  std::size_t machines_started = 0;
  std::size_t connections = 0;
  std::size_t waiting = 0;
  bool draining = false;
  std::string last_reload_error;       ///< "" where the last one went well
  std::vector<std::string> listening;  ///< "https 0.0.0.0:443"
};

enum class MachineOrder : std::uint8_t { Start, Stop, Suspend, Cordon, Uncordon };

struct MachineCommand {
  std::string machine;
  MachineOrder order = MachineOrder::Start;
  std::string signal;                                ///< Stop: "" for the app's kill_signal
  std::optional<std::chrono::milliseconds> timeout;  ///< Stop: before SIGKILL
};

/// What a reload or a check of the configuration came to.
struct ConfigReport {
  bool ok = false;
  std::vector<config::Diagnostic> diagnostics;
  std::size_t apps = 0;
  std::size_t changed = 0;                 ///< apps added, removed or changed
  std::vector<std::string> needs_restart;  ///< keys of rooster.toml that stay as they are
};

/// One line of an app's output, or of ours about it.
struct LogLine {
  std::uint64_t sequence = 0;  ///< grows over all apps
  WallTime at{};
  std::string app;
  std::string provider = "app";  ///< "app", "proxy", "runner", "health"
  std::string machine;
  std::string region;
  std::string level = "info";
  std::string message;
};

struct LogQuery {
  std::string app;  ///< "" for all
  std::string machine;
  std::string region;
  std::uint64_t after = 0;  ///< only lines of a greater sequence
  std::size_t most = 100;   ///< the newest so many of them
};

/// The node, from the admin loop's thread. Nothing blocks; what has to ask another thread waits by
/// `waiter`.
class Node {
 public:
  virtual ~Node() = default;

  virtual Task<NodeStatus> status(Waiter& waiter) = 0;
  /// Apps by name from `after` on, `most` of them at most.
  virtual Task<std::vector<AppFacts>> apps(Waiter& waiter, std::string after, std::size_t most) = 0;
  /// Errors: NoRoute where there is no such app.
  virtual Task<AppFacts> app(Waiter& waiter, std::string name) = 0;
  /// Errors: NoRoute where there is no such machine; else why it could not be done, in `detail`.
  virtual Task<> command(Waiter& waiter, MachineCommand command) = 0;
  /// All or nothing; a broken configuration is a report with ok = false, not an Error.
  virtual Task<ConfigReport> reload(Waiter& waiter) = 0;
  /// Reads the files as a reload would and changes nothing.
  virtual Task<ConfigReport> check(Waiter& waiter, bool strict) = 0;
  /// Oldest first.
  virtual std::vector<LogLine> logs(const LogQuery& query) = 0;
  virtual std::shared_ptr<const config::ConfigSet> config() = 0;
  /// The whole metrics page, in pieces.
  virtual std::vector<std::string> metrics() = 0;
};

}  // namespace rooster::admin
