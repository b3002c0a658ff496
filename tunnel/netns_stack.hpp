// NetnsStack: the kernel's TCP as a client's Stack, in a network namespace that a hub process made
// (keeper/hub_process.hpp); without root in a user namespace of its own.
#pragma once

#include "tunnel/stack.hpp"

#include <memory>
#include <string>

namespace rooster::tunnel {

struct NetnsOptions {
  IpAddress address;  ///< our own
  std::uint16_t mtu = 1280;
  std::string tun_device = "/dev/net/tun";
};

/// Forks the hub process: call it before any thread starts. Errors: Internal, with a sentence that
/// says what forbids it here.
Result<std::unique_ptr<Stack>> make_netns_stack(Loop& loop, const NetnsOptions& options);

}  // namespace rooster::tunnel
