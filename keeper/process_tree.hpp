// What /proc says about processes: start times (a pid alone can be reused) and who belongs to a
// machine where there is no cgroup to ask.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace rooster::keeper {

/// The environment variable that marks the processes of a machine without a cgroup.
inline constexpr const char* kInvocationVariable = "ROOSTER_INVOCATION";

struct ProcessStat {
  pid_t pid = 0;
  pid_t parent = 0;
  pid_t group = 0;
  pid_t session = 0;
  char state = '?';
  std::uint64_t start_time = 0;  ///< clock ticks since boot
};

std::optional<ProcessStat> read_stat(pid_t pid);

/// True while that very process runs; a zombie no longer does.
bool is_running(pid_t pid, std::uint64_t start_time);

/// Every running process that descends from `leader`, shares its session or group, or carries
/// `invocation` in its environment. The leader itself is among them.
std::vector<ProcessStat> members_of(pid_t leader, std::uint64_t start_time,
                                    const std::string& invocation);

/// The mark that `pid` was started with; "": none, or not ours to read.
std::string invocation_of(pid_t pid);

/// SIGKILL to all of them, again until no new one appears. Returns whom it killed.
std::vector<ProcessStat> kill_members(pid_t leader, std::uint64_t start_time,
                                      const std::string& invocation);

/// SIGKILL to every child of the calling process.
void kill_children();

}  // namespace rooster::keeper
