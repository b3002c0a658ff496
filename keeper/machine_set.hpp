// MachineSet: every machine that is alive, from fork to the last of its processes' end.
//
//   Attaching --> Starting --exec--> Running --leader exits--> Ending --all gone--> Exited is told
//   (namespaces)     '--failed, timed out------------------------'                (or SpawnFailed)
#pragma once

#include "core/time.hpp"
#include "keeper/cgroup.hpp"
#include "keeper/child.hpp"
#include "keeper/outbox.hpp"
#include "keeper/poller.hpp"
#include "keeper/private_network.hpp"
#include "keeper/process_tree.hpp"
#include "keeper/sweep.hpp"

#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include <sys/wait.h>

namespace rooster::keeper {

class MachineSet {
 public:
  MachineSet(Poller& poller, Outbox& outbox, StateFile& state, Cgroups& cgroups,
             PrivateNetwork& network, rlimit descriptors);

  void spawn(std::uint64_t request, Spawn spawn, TimePoint now);
  Reply signal(const Signal& request);
  Reply kill(const Kill& request);
  void freeze(std::uint64_t request, const Freeze& freeze, TimePoint now);
  Reply thaw(const Thaw& request);
  /// A listed machine's output is the server's to read from now on.
  Reply list(const List& request);

  Reply owns(const Owns& request);

  void on_report(std::uint64_t serial);
  void on_output(std::uint64_t serial);
  /// A zombie that is not yet reaped: its number still means this machine. False: not a machine's
  /// leader.
  bool on_exit(const siginfo_t& exit, TimePoint now);

  /// What joins a running machine's namespaces and cgroup needs to know of it.
  struct Inside {
    std::string cgroup, invocation;
    pid_t init = 0;  ///< 0: it has no namespaces of its own
    bool is_frozen = false;
    ChildUser user;
  };
  std::optional<Inside> inside(const std::string& machine) const;
  const ChildContext& context() const { return context_; }

  /// The server is gone: nobody waits for replies, and outputs are drained so that no machine
  /// blocks on them.
  void on_server_gone();
  /// Begins the stop sequence of every machine; returns when the last one will get SIGKILL.
  TimePoint stop_all(TimePoint now);
  void kill_all();
  /// Does what is due.
  void advance(TimePoint now);
  TimePoint next_due(TimePoint now) const;
  bool is_empty() const { return machines_.empty(); }
  std::size_t size() const { return machines_.size(); }

 private:
  enum class State : std::uint8_t { Attaching, Starting, Running, Ending };
  struct Machine {
    std::uint64_t serial = 0;
    State state = State::Starting;
    Spawn spawn;  // argv[0] and cwd for the failure's text; env is dropped
    std::optional<MachinePlace> place;
    Child child;
    std::uint64_t start_time = 0;
    std::string cgroup;
    std::string invocation;
    std::uint64_t spawn_request = 0;   // 0 = nobody waits for the reply
    std::uint64_t freeze_request = 0;  // 0 = no freeze is under way
    bool is_frozen = false;
    bool is_drained = false;  // its output is read by us
    std::string output_tail;
    std::optional<ChildReport> failure;
    Exited exit;
    std::vector<ProcessStat> remnants;
    TimePoint give_up_at = kNever;  // Starting: not executed; Ending: leave the rest alone
    TimePoint freeze_until = kNever;
    TimePoint kill_at = kNever;  // stop sequence: SIGKILL after kill_timeout
  };

  void attach(Machine& machine);
  void on_attached(std::uint64_t serial, Reply reply);
  void start(Machine& machine, ChildPlace* place);
  void forget(Machine& machine);
  void cancel(Machine& machine, int error);
  std::vector<std::uint64_t> attaching() const;
  void on_born(Machine& machine, const ChildReport& birth);
  void read_births();
  Machine* find(const std::string& id);
  Machine* find_serial(std::uint64_t serial);
  Spawned describe(const Machine& machine) const;
  void finish_start(Machine& machine);
  void kill_everything(Machine& machine);
  void check_freeze(Machine& machine, TimePoint now);
  bool has_ended(Machine& machine, TimePoint now);
  void tell_end(Machine& machine);
  void drain(Machine& machine, bool drained);

  Poller& poller_;
  Outbox& outbox_;
  StateFile& state_;
  Cgroups& cgroups_;
  PrivateNetwork& network_;
  ChildContext context_;
  std::string invocation_prefix_;
  std::uint64_t next_serial_ = 1;
  std::map<std::string, Machine> machines_;
  std::unordered_map<std::uint64_t, std::string> ids_by_serial_;
  std::unordered_map<pid_t, std::string> ids_by_pid_;
};

}  // namespace rooster::keeper
