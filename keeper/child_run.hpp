// What a forked child does until it is the command: session, stdio, cgroup, limits, user,
// directory, privileges (no_new_privs, death signal), exec; and how it says what went wrong on that
// way.
#pragma once

#include "keeper/protocol.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <sys/resource.h>
#include <sys/types.h>

namespace rooster::keeper {

/// Who the command is to run as.
struct ChildUser {
  std::optional<std::uint32_t> uid{};
  std::optional<std::uint32_t> gid{};
  std::string user{};
  bool is_given() const { return uid || !user.empty(); }
};

/// Everything the child reads: made before the fork, so that the child allocates nothing before its
/// user is resolved.
struct ChildPlan {
  std::vector<std::string> argv{};
  std::vector<std::string> environment{};
  std::string cwd{};
  ChildUser user{};
  bool changes_user = false;
  std::string cgroup{};  ///< to be born in; "" = none
  bool joins_cgroup_itself = false;
  rlimit descriptors = {};
  int input = -1;  ///< -1 = /dev/null
  int output = -1;
  int errors = -1;             ///< -1 = as `output`
  int terminal = -1;           ///< a pty's slave: then it is all three, and the session's
  int report = -1;             ///< pipe for a ChildReport
  pid_t keeper = 0;            ///< whose death is the child's
  int lifeline = -1;           ///< pidfd of it, for children who see it as no process at all
  bool in_namespaces = false;  ///< of its own: it then has no rights but over its own processes
};

/// What comes over the report pipe; end of file = the command was executed.
struct ChildReport {
  std::int32_t error = 0;  ///< 0: born
  SpawnStep step = SpawnStep::Exec;
  std::int32_t pid = 0;   ///< born: the process that becomes the command
  std::int32_t init = 0;  ///< born: the first process of a new namespace
};

/// The next one; empty: none yet (`is_ended` false) or no more (`is_ended` true).
std::optional<ChildReport> read_report(int report, bool& is_ended);
void write_report(int report, const ChildReport& content);

/// A new process as the plan's cgroup wants it; 0 in the child. It runs run_child(), or something
/// that ends in it.
pid_t fork_child(ChildPlan& plan);
[[noreturn]] void run_child(const ChildPlan& plan);
/// Tells why, and ends.
[[noreturn]] void give_up(const ChildPlan& plan, SpawnStep step, int error);
/// Enters the cgroup where fork_child() could not; ends with the keeper from now on.
void begin_child(const ChildPlan& plan);

/// Undoes for a forked child what the keeper does with signals: default actions, nothing blocked.
void reset_signals();

/// A pipe whose reading, or writing, end is ours and doesn't block.
bool make_pipe(Descriptor& ours, Descriptor& theirs, bool ours_reads);

}  // namespace rooster::keeper
