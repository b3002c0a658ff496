#include "keeper/hub_namespace.hpp"

#include "keeper/small_file.hpp"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace rooster::keeper {
namespace {

constexpr std::uint32_t kLoopback = 1;
constexpr std::uint32_t kCatchTable = 100;     // routing table of caught packets
constexpr std::uint32_t kFirstMachine = 1000;  // interface of the machine in slot n: this + n
constexpr std::uint32_t kMachineEnd = 2;       // interface of a machine in its own namespace
constexpr std::uint16_t kFirstSlot = 2;        // 172.19.0.1 is the hub's
constexpr std::uint16_t kLastSlot = 65'000;
constexpr int kBacklog = 4096;
constexpr std::uint16_t kDnsPort = 53;
constexpr std::uint32_t kHubV4 = 0xAC13'0001;  // 172.19.0.1
constexpr std::uint32_t kMachinesV4 = 0xAC13'0000;
constexpr std::uint8_t kMachineBits = 112;

const IpAddress& private_range() {
  static const IpAddress range = *IpAddress::parse("fdaa::");
  return range;
}
const IpAddress& machine_dns() {
  static const IpAddress address = *IpAddress::parse("fdaa::3");
  return address;
}
const IpAddress& hub_link_address() {
  static const IpAddress address = *IpAddress::parse("fe80::1");
  return address;
}

Failed failure(int error, const std::string& what) {
  return Failed{.error = error, .text = what + ": " + std::system_category().message(error)};
}

/// The namespace's own knobs. Where /proc/sys is read-only the kernel's defaults must do.
void set_knobs() {
  for (const char* scope : {"all", "default"}) {
    const std::string folder = std::string("/proc/sys/net/ipv6/conf/") + scope;
    write_small_file(folder + "/disable_ipv6", "0");
    write_small_file(folder + "/accept_ra", "0");
    write_small_file(folder + "/accept_dad", "0");
    write_small_file(folder + "/forwarding", "0");
  }
  write_small_file("/proc/sys/net/ipv6/conf/default/addr_gen_mode", "1");  // no link-local address
  write_small_file("/proc/sys/net/ipv4/ip_forward", "0");
}

void set_machine_knobs() {
  set_knobs();
  write_small_file("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
  const std::string range = "/proc/sys/net/ipv4/ping_group_range";
  // In a user namespace only groups that exist in it can be named.
  const std::string own = std::to_string(::getegid());
  if (!write_small_file(range, "0 2147483647")) write_small_file(range, own + ' ' + own);
}

void set_option(int socket, int level, int option) {
  const int on = 1;
  ::setsockopt(socket, level, option, &on, sizeof on);
}

Descriptor make_socket(int family, bool is_datagram, bool is_transparent) {
  const int type = (is_datagram ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
  Descriptor socket(::socket(family, type, 0));
  if (!socket || !is_transparent) return socket;
  const int on = 1;
  const bool is_v6 = family == AF_INET6;
  if (::setsockopt(socket.get(), is_v6 ? SOL_IPV6 : SOL_IP,
                   is_v6 ? IPV6_TRANSPARENT : IP_TRANSPARENT, &on, sizeof on) != 0)
    return {};
  // bind() to an address chooses no port yet: connect() does, and finds more of them.
  set_option(socket.get(), SOL_IP, IP_BIND_ADDRESS_NO_PORT);
  return socket;
}

/// Bound to every address, dual-stack, may answer from any.
Descriptor make_listener(bool is_datagram, std::uint16_t port, bool is_shared) {
  Descriptor socket = make_socket(AF_INET6, is_datagram, true);
  if (!socket) return socket;
  const int off = 0;
  ::setsockopt(socket.get(), SOL_IPV6, IPV6_V6ONLY, &off, sizeof off);
  set_option(socket.get(), SOL_SOCKET, SO_REUSEADDR);
  if (is_shared) set_option(socket.get(), SOL_SOCKET, SO_REUSEPORT);
  if (is_datagram) set_option(socket.get(), SOL_IPV6, IPV6_RECVPKTINFO);
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return {};
  if (!is_datagram && ::listen(socket.get(), kBacklog) != 0) return {};
  return socket;
}

bool add_listeners(std::uint16_t count, HubReady& ready) {
  for (int i = 0; i < count; ++i) {
    ready.listeners.push_back(make_listener(false, kCatchPort, true));
    if (!ready.listeners.back()) return false;
  }
  return true;
}

struct Tun {
  Descriptor device;
  std::uint32_t index = 0;
  std::string error;
};

Tun open_tun(const Hub& hub) {
  Tun tun;
  const auto give_up = [&](const char* what) {
    tun.error = failure(errno, what + hub.tun_device).text;
    tun.device.reset();
  };
  tun.device = Descriptor(::open(hub.tun_device.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!tun.device) {
    give_up("open ");
    return tun;
  }
  ifreq request = {};
  std::memcpy(static_cast<char*>(request.ifr_name), hub.tun_name.data(), hub.tun_name.size());
  request.ifr_flags =
      static_cast<short>(IFF_TUN | IFF_NO_PI | (hub.tun_offload ? IFF_VNET_HDR : 0));
  if (::ioctl(tun.device.get(), TUNSETIFF, &request) != 0) {
    give_up("make a TUN device with ");
    return tun;
  }
  const Descriptor any(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (::ioctl(any.get(), SIOCGIFINDEX, &request) != 0)
    give_up("find the TUN device of ");
  else
    tun.index = static_cast<std::uint32_t>(request.ifr_ifindex);
  return tun;
}

/// An abstract name of the kernel's choice: such names belong to a network namespace.
Descriptor make_notify_socket() {
  Descriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const int on = 1;
  if (!socket || ::setsockopt(socket.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0 ||
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address),
             sizeof address.sun_family) != 0)
    return {};
  return socket;
}

Descriptor current_network() {
  return Descriptor(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
}

std::uint16_t slot_of(const IpAddress& address) {
  const auto& bytes = address.bytes();
  return static_cast<std::uint16_t>(bytes[14] << 8 | bytes[15]);
}

IpAddress prefix_of_machine(const IpAddress& address) {
  auto bytes = address.bytes();
  bytes[14] = bytes[15] = 0;
  return IpAddress::from_bytes(bytes);
}

}  // namespace

HubNamespace::HubNamespace(bool is_new) : own_(current_network()), route_(NETLINK_ROUTE) {
  if (is_new) set_knobs();
}

bool HubNamespace::enter(int network) const {
  return ::setns(network, CLONE_NEWNET) == 0;
}

Reply HubNamespace::answer(Request request) {
  if (const auto* hub = std::get_if<Hub>(&request)) return set_up(*hub);
  if (const auto* one = std::get_if<Catch>(&request)) return change(*one);
  if (const auto* one = std::get_if<Sockets>(&request)) return make_sockets(*one);
  if (auto* one = std::get_if<Attach>(&request)) return attach(std::move(*one));
  if (const auto* one = std::get_if<Detach>(&request)) return detach(*one);
  return Failed{.error = EOPNOTSUPP, .text = "not a request for the hub"};
}

// ---- the hub itself

Reply HubNamespace::set_up(const Hub& hub) {
  if (!own_ || !route_) return failure(errno, "the hub's namespace");
  if (hub.is_again) return resume(hub);
  HubReady ready;
  is_gateway_ = hub.is_gateway;
  if (!hub.tun_name.empty()) {
    Tun tun = open_tun(hub);
    ready.tun = std::move(tun.device);
    ready.no_tun = std::move(tun.error);
    tun_ = tun.index;
  }
  if (const int error = set_link_up(route_, kLoopback, 0); error != 0) return failure(error, "lo");
  if (tun_ != 0) {
    if (const int error = set_link_up(route_, tun_, hub.tun_mtu); error != 0)
      return failure(error, "bring the TUN device up");
  }
  if (hub.is_gateway) {
    Reply done = set_up_gateway(hub, ready);
    if (std::holds_alternative<Failed>(done)) return done;
    return ready;
  }
  for (const IpAddress& address : hub.addresses)
    if (const int error = add_address(route_, tun_ != 0 ? tun_ : kLoopback, address, 128);
        error != 0)
      return failure(error, "address " + address.to_string());
  for (const IpAddress& address : hub.addresses) wait_for_address(route_, address);
  if (tun_ != 0) {
    const Route private_network{.destination = private_range(), .bits = 16, .index = tun_};
    if (const int error = add_route(route_, private_network); error != 0)
      return failure(error, "route fdaa::/16");
  }
  return ready;
}

Reply HubNamespace::resume(const Hub& hub) {
  has_rules_ = true;
  if (!hub.tun_name.empty()) tun_ = ::if_nametoindex(hub.tun_name.c_str());
  HubReady ready;
  if (!add_listeners(hub.listeners, ready)) return failure(errno, "the hub's listener");
  return ready;
}

Reply HubNamespace::set_up_gateway(const Hub& hub, HubReady& ready) {
  const IpAddress hub_v4 = IpAddress::v4(kHubV4);
  // What leaves the hub from no address in particular comes from these.
  int error = add_address(route_, kLoopback, machine_dns(), 128);
  if (error == 0) error = add_address(route_, kLoopback, hub_v4, 32);
  // In the main table, after what is more specific there: in table local it would come first and
  // swallow the answers to peers and machines.
  if (error == 0)
    error = add_route(
        route_, {.destination = private_range(), .bits = 16, .index = kLoopback, .is_local = true});
  for (const IpAddress& everything : {IpAddress(), IpAddress::v4(0)}) {
    if (error != 0) break;
    error = add_mark_rule(route_, everything.is_v4() ? AF_INET : AF_INET6, kCatchMark, kCatchTable);
    if (error == 0)
      error = add_route(
          route_,
          {.destination = everything, .index = kLoopback, .is_local = true, .table = kCatchTable});
  }
  if (error != 0) return failure(error, "the hub's routes");
  if (error = rules_.install(tun_); error != 0)
    ready.no_catch = failure(error, "nf_tables with TPROXY").text;
  has_rules_ = error == 0;
  // Without the rules nothing keeps machines and peers apart: nothing is listened for then.
  if (!has_rules_) return Done{};
  if (!add_listeners(hub.listeners, ready)) return failure(errno, "the hub's listener");
  ready.dns_datagrams = make_listener(true, kDnsPort, false);
  ready.dns_listener = make_listener(false, kDnsPort, false);
  if (!ready.dns_datagrams || !ready.dns_listener) return failure(errno, "the hub's DNS sockets");
  return Done{};
}

Reply HubNamespace::change(const Catch& change) {
  if (!has_rules_) return Failed{.error = EOPNOTSUPP, .text = "nothing can be caught here"};
  const auto peer_route = [&](const Subnet& peer) {
    return Route{.destination = peer.address, .bits = peer.bits, .index = tun_};
  };
  if (tun_ != 0) {
    for (const Subnet& peer : change.remove_peers) remove_route(route_, peer_route(peer));
    for (const Subnet& peer : change.add_peers) {
      const int error = add_route(route_, peer_route(peer));
      if (error != 0 && error != EEXIST)
        return failure(error, "route to " + peer.address.to_string());
    }
  }
  if (const int error = rules_.apply(change); error != 0) return failure(error, "catch");
  return Done{};
}

Reply HubNamespace::make_sockets(const Sockets& request) {
  const Machine* machine = nullptr;
  if (!request.machine.empty()) {
    const auto found = machines_.find(request.machine);
    if (found == machines_.end())
      return Failed{.error = ESRCH, .text = "machine " + request.machine + " has no namespace"};
    machine = &found->second;
    if (!enter(machine->network.get())) return failure(errno, "enter the machine's namespace");
  }
  SocketsMade made;
  int error = 0;
  for (int i = 0; i < request.count && error == 0; ++i) {
    made.sockets.push_back(make_socket(request.family, request.is_datagram,
                                       request.is_transparent && machine == nullptr));
    if (!made.sockets.back()) error = errno;
  }
  if (machine != nullptr && !enter(own_.get())) std::abort();  // never work in the wrong namespace
  if (error != 0) return failure(error, "socket");
  return made;
}

// ---- machines

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
    machine.network = current_network();
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
  step(add_address(inside, kMachineEnd, machine.address, kMachineBits));
  step(add_address(inside, kMachineEnd, machine.address_v4, 32));
  step(add_route(inside, {.index = kMachineEnd, .gateway = hub_link_address()}));
  step(add_route(inside,
                 {.destination = IpAddress::v4(0), .index = kMachineEnd, .gateway = hub_v4}));
  step(add_route(
      route_,
      {.destination = prefix_of_machine(request.address), .bits = kMachineBits, .index = index}));
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
  remove_route(
      route_,
      {.destination = prefix_of_machine(machine.address), .bits = kMachineBits, .index = index});
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
