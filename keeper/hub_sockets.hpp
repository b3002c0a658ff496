// What the hub process makes in a namespace: sockets, the TUN device, and the namespace's own
// knobs.
#pragma once

#include "core/descriptor.hpp"
#include "keeper/protocol.hpp"

#include <cstdint>
#include <string>

namespace rooster::keeper {

/// The namespace's own knobs. Where /proc/sys is read-only the kernel's defaults must do.
void set_knobs();
void set_machine_knobs();

/// Non-blocking; not open, with errno, where it can't be made.
Descriptor make_socket(int family, bool is_datagram, bool is_transparent);
/// Bound to every address, dual-stack, may answer from any.
Descriptor make_listener(bool is_datagram, std::uint16_t port, bool is_shared);
/// An abstract name of the kernel's choice: such names belong to a network namespace.
Descriptor make_notify_socket();

Descriptor current_network_namespace();

struct Tun {
  Descriptor device;
  std::uint32_t index = 0;
  std::string error;  ///< why there is none
};
Tun open_tun(const Hub& hub);

}  // namespace rooster::keeper
