// LwipStack: the Stack for where namespaces are forbidden: lwIP on the tunnel loop's thread, one
// socketpair a connection, so that callers have ordinary descriptors. IPv6 and TCP; it answers
// echo requests, other UDP with "port unreachable", and nothing else.
#pragma once

#include "tunnel/stack.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>

namespace rooster::tunnel {

struct LwipOptions {
  IpAddress address;         ///< our own; IPv6
  std::uint16_t mtu = 1280;  ///< of packets that go out; larger ones are taken in
  std::size_t max_connections = 4096;
};

/// False where lwIP's sources were not there when this was built (scripts/setup fetches them).
bool is_lwip_built_in();

/// The process's one LwipStack. Destroy it when its loop runs no turn, with no dial() under way:
/// what is open then is reset. A gateway is asked `is_wanted` of an echo request to an address that
/// is not ours too, with both ports 0.
/// Errors: Internal, where lwIP is not built in, another LwipStack is alive, or descriptors ran
/// out.
Result<std::unique_ptr<Stack>> make_lwip_stack(Loop& loop, const LwipOptions& options);

}  // namespace rooster::tunnel
