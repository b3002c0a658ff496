#include "keeper/hub_namespace.hpp"

#include "core/private_address.hpp"
#include "keeper/hub_sockets.hpp"

#include <cerrno>
#include <cstdlib>
#include <system_error>

#include <linux/netlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>

namespace rooster::keeper {
namespace {

constexpr std::uint32_t kCatchTable = 100;  // routing table of caught packets
constexpr std::uint16_t kDnsPort = 53;
constexpr std::uint8_t kPrivateBits = 16;

Failed failure(int error, const std::string& what) {
  return Failed{.error = error, .text = what + ": " + std::system_category().message(error)};
}

bool add_listeners(std::uint16_t count, HubReady& ready) {
  for (int i = 0; i < count; ++i) {
    ready.listeners.push_back(make_listener(false, kCatchPort, true));
    if (!ready.listeners.back()) return false;
  }
  return true;
}

}  // namespace

HubNamespace::HubNamespace(bool is_new) : own_(current_network_namespace()), route_(NETLINK_ROUTE) {
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
    const Route private_network{.destination = prefix_of(machine_dns_address(), kPrivateBits),
                                .bits = kPrivateBits,
                                .index = tun_};
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
  int error = add_address(route_, kLoopback, machine_dns_address(), 128);
  if (error == 0) error = add_address(route_, kLoopback, hub_v4, 32);
  // In the main table, after what is more specific there: in table local it would come first and
  // swallow the answers to peers and machines.
  if (error == 0)
    error = add_route(route_, {.destination = prefix_of(machine_dns_address(), kPrivateBits),
                               .bits = kPrivateBits,
                               .index = kLoopback,
                               .is_local = true});
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

}  // namespace rooster::keeper
