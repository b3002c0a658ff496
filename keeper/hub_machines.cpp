// The hub's machines: a network namespace for each, a veth pair into the hub, and the way out
// again.
#include "core/private_address.hpp"
#include "keeper/hub_namespace.hpp"
#include "keeper/hub_sockets.hpp"

#include <cerrno>
#include <cstdlib>
#include <system_error>

#include <fcntl.h>
#include <linux/netlink.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

namespace rooster::keeper {
namespace {

constexpr std::uint32_t kFirstMachine = 1000;  // interface of the machine in slot n: this + n
constexpr std::uint32_t kMachineEnd = 2;       // interface of a machine in its own namespace
constexpr std::uint16_t kFirstSlot = 2;        // 172.19.0.1 is the hub's
constexpr std::uint16_t kLastSlot = 65'000;
constexpr std::uint32_t kMachinesV4 = 0xAC13'0000;  // 172.19.0.0

Failed failure(int error, const std::string& what) {
  return Failed{.error = error, .text = what + ": " + std::system_category().message(error)};
}

std::uint16_t slot_of(const IpAddress& address) {
  const auto& bytes = address.bytes();
  return static_cast<std::uint16_t>(bytes[14] << 8 | bytes[15]);
}

/// The hub as its machines' next hop: without ARP the address only has to be on the link.
IpAddress hub_link_address() {
  return *IpAddress::parse("fe80::1");
}

}  // namespace

std::uint16_t HubNamespace::free_slot() {
  // Upwards, so that a slot rests before it is used again.
  for (int tries = kFirstSlot; tries <= kLastSlot; ++tries) {
    last_slot_ = last_slot_ >= kLastSlot || last_slot_ < kFirstSlot
                     ? kFirstSlot
                     : static_cast<std::uint16_t>(last_slot_ + 1);
    if (!slots_.contains(last_slot_)) return last_slot_;
  }
  return 0;
}

Reply HubNamespace::attach(Attach request) {
  if (!has_rules_ && !request.network)
    return Failed{.error = EOPNOTSUPP, .text = "no packet rules to keep machines apart"};
  if (machines_.contains(request.machine))
    return Failed{.error = EEXIST, .text = request.machine + " has a namespace already"};
  Machine machine;
  machine.address = request.address;
  machine.address_v4 = request.address_v4;
  const bool is_chosen = request.address_v4 == IpAddress();
  if (!is_chosen && (!request.address_v4.is_v4() || request.address_v4.bytes()[12] != 172 ||
                     request.address_v4.bytes()[13] != 19))
    return Failed{.error = EINVAL, .text = "a machine's IPv4 address is of 172.19/16"};
  machine.slot = is_chosen ? free_slot() : slot_of(request.address_v4);
  if (machine.slot < kFirstSlot || slots_.contains(machine.slot))
    return Failed{.error = EADDRINUSE, .text = "no such IPv4 address is free"};
  machine.address_v4 = IpAddress::v4(kMachinesV4 | machine.slot);
  Attached attached{.address_v4 = machine.address_v4};
  if (request.network) {  // it was made by a hub process before this one
    machine.network = std::move(request.network);
  } else {
    if (::unshare(CLONE_NEWNET) != 0) return failure(errno, "a network namespace");
    machine.network = current_network_namespace();
    set_machine_knobs();
    NetlinkSocket inside(NETLINK_ROUTE);
    attached.diag = Descriptor(
        ::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG));
    if (request.wants_notify) attached.notify = make_notify_socket();
    if (!enter(own_.get())) std::abort();  // never work in the wrong namespace
    if (!machine.network || !inside || (request.wants_notify && !attached.notify))
      return Failed{.error = EMFILE, .text = "no descriptors left for a namespace"};
    Reply done = connect_machine(request, machine, inside);
    if (std::holds_alternative<Failed>(done)) return done;
    attached.address_v4 = machine.address_v4;
    attached.network = Descriptor(::fcntl(machine.network.get(), F_DUPFD_CLOEXEC, 3));
  }
  slots_.insert(machine.slot);
  machines_.emplace(request.machine, std::move(machine));
  return attached;
}

/// 0 or errno. A slot of our choice may still be taken by what a dead hub process has left.
int HubNamespace::place_veth(Machine& machine, bool is_slot_chosen) {
  constexpr int kTries = 64;
  int error = 0;
  for (int i = 0; i < kTries; ++i) {
    error = add_veth(route_, {.name = "m" + std::to_string(machine.slot),
                              .index = kFirstMachine + machine.slot,
                              .far_name = "eth0",
                              .far_index = kMachineEnd,
                              .far = machine.network.get()});
    if ((error != EEXIST && error != EBUSY) || !is_slot_chosen) break;
    machine.slot = free_slot();
  }
  machine.address_v4 = IpAddress::v4(kMachinesV4 | machine.slot);
  return error;
}

Reply HubNamespace::connect_machine(const Attach& request, Machine& machine,
                                    NetlinkSocket& inside) {
  const IpAddress hub_v4 = IpAddress::v4(kHubV4);
  int error = place_veth(machine, request.address_v4 == IpAddress());
  if (error != 0) return failure(error, "a veth pair");
  const std::uint32_t index = kFirstMachine + machine.slot;
  const auto step = [&error](int result) {
    if (error == 0) error = result;
  };
  step(set_link_up(inside, kMachineEnd, 0));
  step(set_link_up(inside, kLoopback, 0));
  step(add_address(inside, kMachineEnd, machine.address, kMachinePrefixBits));
  step(add_address(inside, kMachineEnd, machine.address_v4, 32));
  step(add_route(inside, {.index = kMachineEnd, .gateway = hub_link_address()}));
  step(add_route(inside,
                 {.destination = IpAddress::v4(0), .index = kMachineEnd, .gateway = hub_v4}));
  step(add_route(route_, {.destination = prefix_of(request.address, kMachinePrefixBits),
                          .bits = kMachinePrefixBits,
                          .index = index}));
  step(add_route(
      route_, {.destination = machine.address_v4, .bits = 32, .index = index, .source = hub_v4}));
  step(rules_.add_source(
      {.index = index, .address = machine.address, .address_v4 = machine.address_v4}));
  if (error != 0) {
    disconnect_machine(machine);
    return failure(error, "a machine's network");
  }
  wait_for_carrier(inside, kMachineEnd);
  wait_for_address(inside, machine.address);
  wait_for_carrier(route_, index);
  return Done{};
}

/// Its sockets may live on in other hands: the way in and out is gone at once. The link itself
/// takes the kernel some 20 ms, with all its network configuration locked: later.
void HubNamespace::disconnect_machine(const Machine& machine) {
  const std::uint32_t index = kFirstMachine + machine.slot;
  rules_.remove_source(
      {.index = index, .address = machine.address, .address_v4 = machine.address_v4});
  remove_route(route_, {.destination = prefix_of(machine.address, kMachinePrefixBits),
                        .bits = kMachinePrefixBits,
                        .index = index});
  remove_route(route_, {.destination = machine.address_v4, .bits = 32, .index = index});
  slots_.insert(machine.slot);
  old_links_.push_back(machine.slot);
}

void HubNamespace::tidy() {
  if (old_links_.empty()) return;
  const std::uint16_t slot = old_links_.front();
  old_links_.pop_front();
  remove_link(route_, kFirstMachine + slot);  // it may have gone with its other end
  slots_.erase(slot);
}

Reply HubNamespace::detach(const Detach& request) {
  const auto found = machines_.find(request.machine);
  if (found == machines_.end())
    return Failed{.error = ESRCH, .text = "machine " + request.machine + " has no namespace"};
  disconnect_machine(found->second);
  machines_.erase(found);
  return Done{};
}

}  // namespace rooster::keeper
