// ListenProbe: which TCP sockets listen in a network namespace, asked of the kernel by sock_diag:
// one microsecond, and the app notices nothing of it (a connect would take one of its accepts).
#pragma once

#include "core/address.hpp"
#include "core/descriptor.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace rooster::machines {

struct ListeningSocket {
  IpAddress address;
  std::uint16_t port = 0;
  std::uint64_t inode = 0;
  std::uint32_t uid = 0;    ///< of who made it
  bool is_v6_only = false;  ///< IPV6_V6ONLY: "::" without IPv4
  /// Reachable at 127.0.0.1: bound to it, or to every address.
  bool answers_loopback() const;
};

class ListenProbe {
 public:
  ListenProbe();  ///< of this process's namespace
  /// Of the namespace that this NETLINK_SOCK_DIAG socket was made in.
  explicit ListenProbe(Descriptor diag) : netlink_(std::move(diag)) {}
  /// All listening TCP sockets of the namespace; what could be read where the kernel
  /// answers badly.
  std::vector<ListeningSocket> list();

 private:
  void dump(int family, std::vector<ListeningSocket>& into);
  Descriptor netlink_;
  std::uint32_t sequence_ = 0;
};

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
  bool has(const ListeningSocket& socket) const;
};

/// Reads /proc: for moments when it matters, not each turn. Without a cgroup it reads all of it,
/// some milliseconds.
OwnSockets sockets_of(const ProcessTree& tree);
/// Those of its first process alone, which most often is the one that listens: microseconds.
OwnSockets sockets_of_leader(const ProcessTree& tree);

}  // namespace rooster::machines
