// ListenProbe: which TCP sockets listen in a network namespace, asked of the kernel by sock_diag:
// one microsecond, and the app notices nothing of it (a connect would take one of its accepts).
#pragma once

#include "core/address.hpp"
#include "core/descriptor.hpp"
#include "keeper/own_sockets.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace rooster::machines {

using keeper::OwnSockets;
using keeper::ProcessTree;

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

}  // namespace rooster::machines
