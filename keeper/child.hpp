// One machine's process, from request to execve. The child's way, in order: session, stdio, cgroup,
// limits, user, directory, privileges (no_new_privs, death signal), exec; a failure travels back as
// {step, errno} over a pipe.
#pragma once

#include "keeper/protocol.hpp"

#include <expected>
#include <optional>
#include <string>

#include <sys/resource.h>
#include <sys/types.h>

namespace rooster::keeper {

/// What a child needs to know of the keeper.
struct ChildContext {
  std::string cgroup;                 ///< directory to be born in; "" = none
  std::string invocation;             ///< put into the environment where there is no cgroup
  rlimit descriptors = {1024, 4096};  ///< the limits that the keeper itself was started with
  std::string own_user;               ///< name of the keeper's own user
};

struct Child {
  pid_t pid = 0;
  bool user_applied = true;
  Descriptor output;
  Descriptor notify;
  /// Readable once the child has executed its command (end of file) or failed (a ChildFailure).
  Descriptor failure_pipe;
};

/// What the child writes into its failure pipe.
struct ChildFailure {
  std::int32_t error = 0;
  SpawnStep step = SpawnStep::Exec;
};

/// Forks. The caller reads failure_pipe when it becomes readable; nothing here waits for the child.
std::expected<Child, SpawnFailed> start_child(const Spawn& spawn, const ChildContext& context);

/// What the child said, once failure_pipe is readable; empty = it executed its command.
std::optional<ChildFailure> read_failure(int failure_pipe);

/// "chdir /srv: No such file or directory"
SpawnFailed explain(const ChildFailure& failure, const Spawn& spawn);

/// Undoes for a forked child what the keeper does with signals: default actions, nothing blocked.
void reset_signals();

}  // namespace rooster::keeper
