// OwnSockets: which sockets a machine's processes hold, read from /proc. The server asks its keeper
// for it: in a sandbox /proc shows it nothing of other processes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace rooster::keeper {

/// The processes of a machine: members of its cgroup, or without one of its process tree.
struct ProcessTree {
  std::int32_t pid = 0;
  std::uint64_t start_time = 0;
  std::string cgroup;  ///< absolute; "": none
};

/// Is `pid` one of the tree's processes?
bool is_member(const ProcessTree& tree, std::int32_t pid);

/// The sockets that a tree's processes hold.
struct OwnSockets {
  std::vector<std::uint64_t> inodes{};
  /// Users of those processes whose descriptors this process may not see (another user's, and we
  /// are not root). Of them only the user is compared: a tenant is told from another as long as
  /// each has a user of its own, which is what the keeper gives them.
  std::vector<std::uint32_t> hidden_users{};
  bool has(std::uint64_t inode, std::uint32_t uid) const;
};

/// Reads /proc: for moments when it matters, not each turn. Without a cgroup it reads all of it,
/// some milliseconds.
OwnSockets sockets_of(const ProcessTree& tree);
/// Those of its first process alone, which most often is the one that listens: microseconds.
OwnSockets sockets_of_leader(const ProcessTree& tree);

}  // namespace rooster::keeper
