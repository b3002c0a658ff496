// CatchRules: the hub's packet rules, in nf_tables. A packet that arrives is answered here, given
// to the transparent listener, or refused; nothing is forwarded.
//
//   from the TUN device ----------------------------------> private
//   from a machine, source not its own -------------------> dropped
//                   to fdaa::3 port 53 -------------------> the DNS sockets
//                   to its own /48 -----------------------> private
//                   to anything outside fdaa::/16, TCP ---> the listener
//   private: known destinations, TCP -> the listener; pings of them and port 53 of fdaa:<net>::3 ->
//            answered here; replies to connections dialled from here -> their sockets
//   all else -> reset, or "unreachable", or silence
#pragma once

#include "keeper/netlink.hpp"
#include "keeper/protocol.hpp"

namespace rooster::keeper {

/// The transparent listeners' port, and the mark that brings a packet to this host.
inline constexpr std::uint16_t kCatchPort = 1;
inline constexpr std::uint32_t kCatchMark = 1;

class CatchRules {
 public:
  /// Of the calling process's network namespace, now and later.
  CatchRules();
  /// `tun`: the device's index, 0 = none. Errors: errno; the rules are then not there.
  int install(std::uint32_t tun);

  /// The addresses and ports of `change`; what goes first.
  int apply(const Catch& change);

  /// What may come from a machine's interface.
  struct Source {
    std::uint32_t index = 0;
    IpAddress address, address_v4;
  };
  int add_source(const Source& source);
  int remove_source(const Source& source);

 private:
  NetlinkSocket socket_;  // closing one waits for what it removed: it stays open
};

}  // namespace rooster::keeper
