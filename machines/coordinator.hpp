// Coordinator: decides for all apps of this node which machine is started, stopped, suspended, and
// when. A state machine without I/O, clock or thread: inputs are calls with `now`, what is to be
// done comes out in an Output. Runs on the control thread.
#pragma once

#include "config/app_config.hpp"
#include "core/error.hpp"
#include "core/ids.hpp"
#include "core/time.hpp"
#include "machines/app_view.hpp"
#include "machines/failure_history.hpp"
#include "machines/ledger.hpp"
#include "machines/machine.hpp"
#include "machines/prewake_budget.hpp"
#include "machines/start_spec.hpp"
#include "machines/wake_gate.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

namespace rooster::machines {

// ---- what a driver is asked ----

/// Start it; then report started() or start_failed(), and watch for readiness until Unwatch.
struct StartMachine {
  AppId app{};
  StartSpec spec{};
};
/// Thaw it; then report resumed(), and watch for readiness.
struct ResumeMachine {
  AppId app{};
  MachineId machine{};
};
/// Freeze it; then report suspended().
struct SuspendMachine {
  MachineId machine{};
};
struct SignalMachine {
  MachineId machine{};
  int signal = 0;
};
struct KillMachine {
  MachineId machine{};
};
/// Resolve the address app's host names; then report resolved().
struct ResolveApp {
  AppId app{};
  std::string address{};
};
/// Workers: close WebSockets to this machine with GoAway, ask others to finish.
struct GoAway {
  AppId app{};
  MachineId machine{};
};
/// It is stopped, suspended or gone: no more readiness or service checks of it.
struct Unwatch {
  MachineId machine{};
};
using DriverCommand = std::variant<StartMachine, ResumeMachine, SuspendMachine, SignalMachine,
                                   KillMachine, ResolveApp, GoAway, Unwatch>;

/// One line for the machine's log, in the words of Fly's.
struct MachineLine {
  enum class Level : std::uint8_t { Info, Warn, Error };
  AppId app{};
  MachineId machine{};
  std::string region{};
  std::string_view provider{};  ///< "proxy", "runner", "health"
  Level level = Level::Info;
  std::string message{};
};

struct Output {
  std::vector<AppViewPtr> facts{};        ///< to every worker, in this order
  std::vector<DriverCommand> commands{};  ///< in this order
  std::vector<MachineLine> lines{};
  void clear() {
    facts.clear();
    commands.clear();
    lines.clear();
  }
};

struct ExitStatus {
  int code = 0;
  int signal = 0;
  bool out_of_memory = false;
};

/// What an operator's stop asks for beside the app's own kill_signal and kill_timeout.
struct StopWish {
  int signal = 0;  ///< 0: the app's
  std::optional<Duration> timeout{};
};

/// Where an app lies in the private network.
struct AppPlace {
  NetworkId network{};
  IpAddress flycast{};  ///< of its services; unset: it has none
  /// Its machines are started in namespaces of their own; else they share the host's network.
  bool has_namespaces = false;
};

/// Who assigns private addresses. Called on the coordinator's thread; the answer to the same
/// question is always the same. Unset functions: there is no private network.
struct PrivatePlaces {
  std::function<AppPlace(const config::AppConfig&)> of_app{};
  std::function<IpAddress(NetworkId, const MachineId&)> of_machine{};
};

struct CoordinatorOptions {
  std::string region = "local";  ///< this node's: started first
  Duration drain_timeout =
      std::chrono::minutes(10);  ///< stale and removed machines with exchanges in flight
  Duration operator_drain =
      std::chrono::seconds(30);  ///< `machine stop` waits this long for what is in flight
  Duration epoch_timeout =
      std::chrono::seconds(5);   ///< a worker that adopts nothing that long is not waited for
  bool awaits_adoption = false;  ///< a successor's: start nothing before adoption_done()
  bool can_suspend = false;      ///< the keeper has a writable cgroup2
  std::function<std::int64_t()> boot_ms = boot_milliseconds;
  /// A free TCP port on this host, for a machine whose own is taken; 0: none.
  std::function<std::uint16_t()> free_port{};
  /// One of this node's own listeners: an address app there would send requests round in a circle.
  std::function<bool(const Endpoint&)> is_own_listener{};
  PrivatePlaces places{};
};

struct CoordinatorCounters {
  std::uint64_t wakes = 0;  ///< commands that began a start
  std::uint64_t starts = 0;
  std::uint64_t resumes = 0;
  std::uint64_t start_failures = 0;
  std::uint64_t wake_failures = 0;
  std::uint64_t stops = 0;
  std::uint64_t suspends = 0;
  std::uint64_t kills = 0;
  std::uint64_t exits = 0;
  std::uint64_t wasted_prewakes = 0;  ///< woken by a TLS hello that no request followed
};

class Coordinator {
 public:
  explicit Coordinator(CoordinatorOptions options);
  ~Coordinator();
  Coordinator(const Coordinator&) = delete;
  Coordinator& operator=(const Coordinator&) = delete;

  // Configuration.

  /// Adds the app or takes over its changed config; the same pointer again changes nothing.
  void configure(AppId app, std::shared_ptr<const config::AppConfig> config, TimePoint now,
                 Output& out);
  /// Out of routing, drain, stop, forget.
  void remove(AppId app, TimePoint now, Output& out);

  // Workers.

  void wake(const WakeCommand& command, TimePoint now, Output& out);
  /// Every worker has adopted all facts up to `epoch`.
  void epoch_adopted(std::uint64_t epoch, TimePoint now, Output& out);

  // Drivers.

  /// Before started() or adopt(): its IPv4 address in a network namespace of its own; unset: it
  /// shares the host's network.
  void placed(const MachineId& machine, const IpAddress& private_v4);
  void started(const MachineId& machine, std::int32_t pid, TimePoint now, Output& out);
  void start_failed(const MachineId& machine, Fault fault, std::string detail, TimePoint now,
                    Output& out);
  /// Its own process listens on the first service's port.
  void listening(const MachineId& machine, TimePoint now, Output& out);
  /// It runs without listening where it should: what a wake_timeout will be called.
  void diagnosed(const MachineId& machine, Fault fault, std::string detail);
  /// READY=1 came over NOTIFY_SOCKET.
  void notified(const MachineId& machine, TimePoint now, Output& out);
  /// A service check ran: `check` counts over the checks of the group's services, as checks_of()
  /// lists them.
  void checked(const MachineId& machine, std::size_t check, bool passing, std::string output,
               TimePoint now, Output& out);
  void exited(const MachineId& machine, ExitStatus status, std::string last_output, TimePoint now,
              Output& out);
  void suspended(const MachineId& machine, bool done, TimePoint now, Output& out);
  void resumed(const MachineId& machine, bool done, TimePoint now, Output& out);
  /// Addresses of an address app; empty: they could not be resolved (the last good ones stay).
  void resolved(AppId app, const std::vector<IpAddress>& addresses, TimePoint now, Output& out);
  /// A successor's server finds a machine alive at the keeper. False: not ours any more, kill it.
  bool adopt(const MachineId& machine, const std::string& fingerprint, std::int32_t pid,
             bool is_frozen, TimePoint now, Output& out);

  /// All that was alive has been adopted: from now on machines are started
  /// (options.awaits_adoption).
  void adoption_done(TimePoint now, Output& out);

  // Operator.

  Result<> start(const MachineId& machine, TimePoint now, Output& out);
  Result<> stop(const MachineId& machine, bool suspend, TimePoint now, Output& out,
                StopWish wish = {});
  Result<> cordon(const MachineId& machine, bool cordoned, TimePoint now, Output& out);
  /// Shutdown of the node: stops every machine; nothing is started from now on.
  void stop_all(TimePoint now, Output& out);
  /// Nothing runs any more that stop_all() had to stop: addresses are left as they are.
  bool has_stopped_all() const;

  // Time.

  void tick(TimePoint now, Output& out);
  /// When tick() is next due; kNever while nothing is awake.
  TimePoint next_tick(TimePoint now) const;

  // For views, status and explain.

  AppViewPtr view(AppId app) const;
  std::vector<AppId> apps() const;
  const Machine* find(const MachineId& machine) const;
  std::optional<AppId> app_of(const MachineId& machine) const;
  /// Machines that run or are about to.
  std::size_t awake() const { return awake_.size(); }
  std::uint64_t epoch() const { return epoch_; }
  const Ledger& ledger() const { return ledger_; }
  const CoordinatorCounters& counters() const { return counters_; }

 private:
  struct Pool;  // the machines of one process group of one app
  struct App;
  struct Place {
    App* app = nullptr;
    Pool* pool = nullptr;
    Machine* machine = nullptr;
  };

  // coordinator_config.cpp
  void lay_out(App& app, TimePoint now, Output& out);
  void lay_out_pool(App& app, Pool& pool, TimePoint now, Output& out);
  void lay_out_addresses(App& app, Pool& pool, std::set<MachineId>& kept, TimePoint now,
                         Output& out);
  std::set<MachineId> take_addresses(App& app, Pool& pool, const std::vector<IpAddress>& addresses,
                                     TimePoint now, Output& out);
  bool is_circle(const App& app, const Pool& pool, const IpAddress& address) const;
  void retire(const Place& place, TimePoint now, Output& out);
  Machine& add_machine(App& app, Pool& pool, MachineId id, const std::string& region,
                       std::uint32_t index);
  void place_privately(const App& app, Machine& machine) const;
  void set_limits(App& app, Pool& pool, Machine& machine);
  void keep_minimum(App& app, Pool& pool, TimePoint now, Output& out);
  void forget(App& app, Pool& pool, const MachineId& machine);
  void forget_if_gone(AppId app);

  // coordinator_wake.cpp
  bool wake_one(App& app, Pool& pool, const WakeCommand& command, TimePoint now, Output& out);
  void want(App& app, Pool& pool, TimePoint now, Output& out);
  Machine* next_to_start(const App& app, Pool& pool);
  void begin_start(App& app, Pool& pool, Machine& machine, TimePoint now, Output& out);
  bool place_ports(App& app, Pool& pool, Machine& machine);
  void consider_ready(const Place& place, TimePoint now, Output& out);
  void fail_wake(App& app, Pool& pool, Fault fault, std::string detail, TimePoint now, Output& out);
  void expire_wake(const Place& place, TimePoint now, Output& out);
  void after_end(const Place& place, TimePoint now, Output& out);

  // coordinator_stop.cpp
  void begin_drain(const Place& place, StopReason reason, bool suspend, TimePoint now, Output& out);
  void advance_drain(const Place& place, TimePoint now, Output& out);
  void signal_stop(const Place& place, TimePoint now, Output& out);
  void kill_suspended(const Place& place, TimePoint now, Output& out);
  bool cancel_drain(const Place& place, TimePoint now, Output& out);
  bool judge_prewake(Machine& machine);
  void reap(App& app, Pool& pool, TimePoint now, Output& out);
  void scale_up(App& app, Pool& pool, TimePoint now, Output& out);
  void replace_stale(App& app, Pool& pool, TimePoint now, Output& out);

  // coordinator.cpp
  std::optional<Place> place(const MachineId& machine);
  void set_state(const Place& place, MachineState state);
  void refresh_phase(App& app, Pool& pool, TimePoint now);
  void tend(App& app, Pool& pool, bool reaps, TimePoint now, Output& out);
  void touch(App& app);
  void flush(TimePoint now, Output& out);
  AppViewPtr make_view(App& app);
  void line(const Place& place, std::string_view provider, MachineLine::Level level,
            std::string message, Output& out) const;
  void record(const App& app, const Machine* machine, LedgerEntry::Kind kind, std::string source,
              std::string reason, Fault fault = Fault::None);

  const CoordinatorOptions options_;
  std::unordered_map<AppId, std::unique_ptr<App>> apps_;
  std::unordered_map<MachineId, Place> machines_;
  std::set<MachineId> awake_;  // those that tick() walks
  std::set<std::pair<AppId, std::string>>
      waiting_pools_;      // with a retry_at that somebody waits for
  std::set<AppId> dirty_;  // whose fact is out of date
  std::map<std::uint16_t, MachineId> taken_ports_;
  std::uint64_t epoch_ = 0;
  std::uint64_t adopted_epoch_ = 0;
  TimePoint next_reap_{};
  bool is_stopping_ = false;
  bool is_adopting_ = false;
  PrewakeBudget prewakes_;
  Ledger ledger_;
  CoordinatorCounters counters_;
};

/// The checks of the services that `group` carries, in order; Coordinator::checked() counts over
/// them.
std::vector<const config::Check*> checks_of(const config::AppConfig& config,
                                            std::string_view group);

/// "5m0s", "403ms": durations as Fly's log lines have them.
std::string fly_duration(Duration duration);

}  // namespace rooster::machines
