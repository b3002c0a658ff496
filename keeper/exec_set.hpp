// ExecSet: commands that run in machines beside the machine's own, from fork to exit. They are the
// keeper's children, in the machine's namespaces and cgroup.
#pragma once

#include "core/time.hpp"
#include "keeper/child.hpp"
#include "keeper/machine_set.hpp"
#include "keeper/outbox.hpp"
#include "keeper/poller.hpp"

#include <map>
#include <optional>
#include <string>

#include <sys/wait.h>

namespace rooster::keeper {

class ExecSet {
 public:
  ExecSet(Poller& poller, Outbox& outbox, const MachineSet& machines);

  void run(std::uint64_t request, Exec exec, bool has_user_namespace, TimePoint now);
  Reply signal(const ExecSignal& request);

  void on_report(std::uint64_t serial);
  /// False: not one of these.
  bool on_exit(const siginfo_t& exit);
  /// Nobody holds their terminals and pipes any more: they are killed.
  void on_server_gone();
  void kill_all();
  void advance(TimePoint now);
  TimePoint next_due() const;
  bool is_empty() const { return commands_.empty(); }

 private:
  struct Command {
    std::uint64_t request = 0;  // 0 = answered
    pid_t pid = 0;              // of the setup process until it is born
    bool is_born = true;
    Descriptor report;
    Executed executed;
    std::optional<ChildReport> failure;
    std::string name, cwd;
    ChildUser user;
    TimePoint give_up_at = kNever;
  };

  void finish_start(std::uint64_t serial, Command& command);
  void kill(const Command& command) const;

  Poller& poller_;
  Outbox& outbox_;
  const MachineSet& machines_;
  std::uint64_t next_serial_ = 1;
  std::map<std::uint64_t, Command> commands_;
};

}  // namespace rooster::keeper
