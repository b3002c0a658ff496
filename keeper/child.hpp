// One machine's process, from request to execve (child_run.hpp); a failure travels back as
// {step, errno} over a pipe.
#pragma once

#include "keeper/child_run.hpp"
#include "keeper/namespaces.hpp"
#include "keeper/protocol.hpp"

#include <expected>
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
  std::string data_folder;            ///< the node's: no machine's business
};

struct Child {
  pid_t pid = 0;   ///< with namespaces: of the setup process until it is born
  pid_t init = 0;  ///< first process of its own namespace, 0 = none
  bool is_born = true;
  bool user_applied = true;
  Descriptor output;
  Descriptor notify;
  /// Readable once the child has executed its command (end of file) or has a ChildReport.
  Descriptor report;
};

/// The machine's namespaces, and the notify socket that lies in them.
struct ChildPlace {
  NamespacePlan namespaces;
  Descriptor notify;
};

/// Forks. The caller reads `report` when it becomes readable; nothing here waits for the child.
std::expected<Child, SpawnFailed> start_child(const Spawn& spawn, const ChildContext& context,
                                              ChildPlace* place = nullptr);

/// "chdir /srv: No such file or directory"
SpawnFailed explain(const ChildReport& failure, const ChildUser& user, const std::string& command,
                    const std::string& cwd);

/// Does running as `user` need no change, and may it be changed?
struct UserChange {
  bool is_possible = true;
  bool is_needed = false;
};
UserChange user_change(const ChildUser& user, const std::string& own_name);

}  // namespace rooster::keeper
