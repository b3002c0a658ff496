// HealthChecks: runs the service checks of the machines that are awake: each 20 to 250 ms while one
// wakes (whatever its interval and grace period say), then at its interval. A check never asks a
// machine that is not started.
#pragma once

#include "config/app_config.hpp"
#include "core/address.hpp"
#include "core/descriptor.hpp"
#include "core/ids.hpp"
#include "core/loop.hpp"
#include "core/stream.hpp"
#include "core/task.hpp"

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace rooster::machines {

/// The pause before the next run of a check. Pure.
Duration check_pause(const config::Check& check, bool is_waking, int runs_while_waking);

class HealthChecks {
 public:
  using Report =
      std::function<void(const MachineId&, std::size_t check, bool passing, std::string output)>;
  using IsWaking = std::function<bool(const MachineId&)>;
  /// Asks for a socket in the machine's network namespace; the answer may come at any later time,
  /// not open where there is none.
  using OpenInside =
      std::function<void(const MachineId&, std::function<void(Descriptor)> on_socket)>;
  HealthChecks(Loop& loop, Report report, IsWaking is_waking, OpenInside open_inside = {});
  ~HealthChecks();
  HealthChecks(const HealthChecks&) = delete;
  HealthChecks& operator=(const HealthChecks&) = delete;

  /// `config` keeps the checks alive; `targets` has one endpoint for each. `is_inside`: the machine
  /// has a network of its own, and is asked from in there, at loopback or the target's address.
  void watch(const MachineId& machine, std::shared_ptr<const config::AppConfig> config,
             std::vector<const config::Check*> checks, std::vector<Endpoint> targets,
             bool is_inside = false);
  void forget(const MachineId& machine);
  /// Interrupts all runs; `done` once none is left.
  void stop(std::move_only_function<void()> done);

 private:
  struct Run;
  void start(const std::shared_ptr<Run>& run);
  Task<> run_once(std::shared_ptr<Run> run);
  Task<std::unique_ptr<Stream>> dial(std::shared_ptr<Run> run, TimePoint deadline);
  Task<std::unique_ptr<Stream>> dial_inside(std::shared_ptr<Run> run, Endpoint to,
                                            TimePoint deadline);

  Loop& loop_;
  TaskGroup group_;
  Report report_;
  IsWaking is_waking_;
  OpenInside open_inside_;
  std::unordered_map<MachineId, std::vector<std::shared_ptr<Run>>> runs_;
};

}  // namespace rooster::machines
