// Control: the thread that decides. It turns commands, driver events and the clock into calls of
// the Coordinator, and the Coordinator's output into facts for the workers, orders for the drivers
// and lines for the log. Never blocks.
#pragma once

#include "admin/lifecycle_metrics.hpp"
#include "admin/node.hpp"
#include "app/worker.hpp"
#include "config/config_set.hpp"
#include "core/log.hpp"
#include "core/loop.hpp"
#include "core/metrics.hpp"
#include "keeper/client.hpp"
#include "machines/coordinator.hpp"
#include "machines/drivers.hpp"
#include "net/resolver.hpp"

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace rooster::app {

class PrivateNetwork;

class Control {
 public:
  struct Parts {
    Loop& loop;
    Log& log;
    Metrics& metrics;
    keeper::Client& keeper;
    machines::WaitingLimits& waiting;
    proxy::ConnectionBudget& budget;
    std::vector<std::unique_ptr<Worker>>& workers;
    std::string region;
    keeper::Welcome welcome;
    PrivateNetwork* private_network = nullptr;  ///< null: there is none
    /// One of this node's own listeners?
    std::function<bool(const Endpoint&)> is_own_listener;
    /// The user of an app whose file names none.
    std::function<std::optional<std::uint32_t>(const std::string&)> uid_for;
    /// What a machine wrote.
    std::function<void(admin::LogLine, std::string)> output;
    /// It has ended: what it wrote last is a line.
    std::function<void(admin::LogLine)> output_ended;
    /// Lines for `rooster logs`; any thread may be behind it.
    std::function<void(admin::LogLine)> log_line;
    /// An app got this id.
    std::function<void(AppId, std::string)> name_app;
  };
  explicit Control(Parts parts);
  ~Control();
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;

  /// Takes over what the keeper has running (a successor's start), and kills what the configuration
  /// has no more. After apply(): until then nothing is started.
  void adopt_machines(std::function<void()> done);
  /// Configures the apps that differ between the two sets, in slices of a millisecond; `done` once
  /// all workers have been sent the facts. `before` null: all of them.
  void apply(std::shared_ptr<const config::ConfigSet> before,
             std::shared_ptr<const config::ConfigSet> after, std::function<void(std::size_t)> done);

  void wake(const machines::WakeCommand& command);

  /// Stops every machine; `done` when none is left.
  void stop_machines(std::function<void()> done);
  /// No further checks, probes and lookups; before the loop ends.
  void stop_drivers(std::move_only_function<void()> done) { drivers_->stop(std::move(done)); }

  // For the admin API; on this thread.
  admin::NodeStatus status() const;
  std::vector<admin::AppFacts> facts_after(const std::string& after, std::size_t most) const;
  Result<admin::AppFacts> facts_of(const std::string& app) const;
  Result<> order(const admin::MachineCommand& command);

  /// Who is told that a command in a machine has ended.
  void set_on_exec_exited(std::function<void(const keeper::ExecExited&)> tell) {
    exec_exited_ = std::move(tell);
  }
  void set_status(std::function<void(admin::NodeStatus&)> fill) { fill_status_ = std::move(fill); }

 private:
  struct Slice;
  void run_slice(std::shared_ptr<Slice> slice);
  AppId id_of(const std::string& name);
  template <class Call>
  void with_output(Call call);
  void deliver(machines::Output& output);
  void publish(std::vector<machines::AppViewPtr> facts);
  void tell(const machines::MachineLine& line);
  machines::DriverEvents driver_events();
  std::optional<admin::LogLine> origin_of(const MachineId& machine) const;
  void go_away(const machines::GoAway& command);
  void set_timer();
  void watch_epochs();
  admin::AppFacts facts_of(AppId app) const;

  Parts parts_;
  machines::Coordinator coordinator_;
  admin::LifecycleMetrics lifecycle_;
  net::Resolver resolver_;
  std::unique_ptr<machines::Drivers> drivers_;
  Timer timer_;
  Timer epoch_timer_;
  std::map<std::string, AppId> ids_;  // by name; an id is never given to another name
  std::vector<std::string> names_;    // by id
  std::uint64_t told_epoch_ = 0;      // the last one the coordinator was told of
  std::function<void()> all_stopped_;
  std::function<void(admin::NodeStatus&)> fill_status_;
  std::function<void(const keeper::ExecExited&)> exec_exited_;
};

}  // namespace rooster::app
