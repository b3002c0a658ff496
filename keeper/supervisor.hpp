// Supervisor: the keeper's loop. It answers the server's requests, reaps, forwards signals, and
// decides what follows a server's end:
//   exit 0 ............................ stop machines, end with 0 (machines kept and a successor,
//   if asked) other exit before Ready, the first  end with that code: the configuration is wrong
//   anything else ..................... a crash: machines stay, a successor at once; too many
//   crashes end with 1
#pragma once

#include "core/log.hpp"
#include "core/time.hpp"
#include "keeper/cgroup.hpp"
#include "keeper/exec_set.hpp"
#include "keeper/keeper.hpp"
#include "keeper/listeners.hpp"
#include "keeper/machine_set.hpp"
#include "keeper/outbox.hpp"
#include "keeper/poller.hpp"
#include "keeper/private_network.hpp"
#include "keeper/server_process.hpp"
#include "keeper/sweep.hpp"

#include <deque>
#include <map>
#include <string>

#include <sys/resource.h>
#include <sys/wait.h>

namespace rooster::keeper {

class Supervisor {
 public:
  /// `signals`: a signalfd of SIGCHLD, SIGTERM, SIGINT and SIGHUP, which are blocked.
  Supervisor(const KeeperOptions& options, Descriptor signals, StateFile& state, Cgroups& cgroups,
             rlimit descriptors);

  /// Until the server has ended for good and no machine is left. Returns the exit code.
  int run();

 private:
  void start_server(TimePoint now);
  void on_signals(TimePoint now);
  void on_stop_signal(int signal, TimePoint now);
  void reap(TimePoint now);
  void on_server_exit(const siginfo_t& exit, TimePoint now);
  void on_crash(const std::string& how, TimePoint now);
  void on_channel(TimePoint now);
  void close_channel(TimePoint now);
  void answer(std::uint64_t id, Request request, TimePoint now);
  Reply store(Store request);
  Reply fetch(const Fetch& request) const;
  void finish(int exit_code, TimePoint now);
  void advance(TimePoint now);
  TimePoint next_due(TimePoint now) const;
  bool is_done(TimePoint now) const;

  const KeeperOptions& options_;
  Descriptor signals_;
  rlimit descriptors_;
  Cgroups& cgroups_;
  Log log_;
  Poller poller_;
  Outbox outbox_;
  PrivateNetwork network_;
  MachineSet machines_;
  ExecSet execs_;
  Listeners listeners_;
  std::map<std::string, Descriptor> stored_;
  ServerProcess server_;
  std::uint32_t generation_ = 0;
  bool was_ever_ready_ = false;
  std::deque<TimePoint> crashes_;
  int stop_signals_ = 0;
  bool is_finishing_ = false;
  int exit_code_ = 0;
  TimePoint orphaned_until_ = kNever;  // machines without a server
  TimePoint restart_at_ = kNever;      // a fork that failed is tried again
  TimePoint kill_server_at_ = kNever;  // after the second stop signal
  TimePoint leave_at_ = kNever;        // finishing: what can't be killed is left alone
};

}  // namespace rooster::keeper
