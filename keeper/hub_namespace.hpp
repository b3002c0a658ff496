// HubNamespace: what the hub process does, in its network namespace: the TUN device, the catching
// listeners, sockets, and a network namespace for each machine.
#pragma once

#include "keeper/catch_rules.hpp"
#include "keeper/netlink.hpp"
#include "keeper/protocol.hpp"

#include <deque>
#include <map>
#include <set>
#include <string>

namespace rooster::keeper {

inline constexpr std::uint32_t kLoopback = 1;         // lo's index in every namespace
inline constexpr std::uint32_t kHubV4 = 0xAC13'0001;  // 172.19.0.1

class HubNamespace {
 public:
  /// The calling process is in the hub's namespace. `is_new`: nothing is set up in it yet.
  explicit HubNamespace(bool is_new);

  /// Does it; requests that are not the hub's get Failed EOPNOTSUPP.
  Reply answer(Request request);
  /// What can wait until nobody asks; tidy() does a piece of it.
  bool has_leftovers() const { return !old_links_.empty(); }
  void tidy();

 private:
  struct Machine {
    IpAddress address, address_v4;
    std::uint16_t slot = 0;
    Descriptor network;
  };

  Reply set_up(const Hub& hub);
  Reply resume(const Hub& hub);
  Reply set_up_gateway(const Hub& hub, HubReady& ready);
  Reply change(const Catch& change);
  Reply make_sockets(const Sockets& request);
  Reply attach(Attach request);
  int place_veth(Machine& machine, bool is_slot_chosen);
  Reply connect_machine(const Attach& request, Machine& machine, NetlinkSocket& inside);
  void disconnect_machine(const Machine& machine);
  Reply detach(const Detach& request);
  std::uint16_t free_slot();
  bool enter(int network) const;

  Descriptor own_;  // the hub's namespace, to come back to
  NetlinkSocket route_;
  CatchRules rules_;
  bool is_gateway_ = true;
  bool has_rules_ = false;
  std::uint32_t tun_ = 0;
  std::map<std::string, Machine> machines_;
  std::set<std::uint16_t> slots_;
  std::deque<std::uint16_t> old_links_;  // of machines that are gone; their slots are not free yet
  std::uint16_t last_slot_ = 0;
};

}  // namespace rooster::keeper
