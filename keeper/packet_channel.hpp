// Packets over a SEQPACKET socket, without blocking: descriptors as SCM_RIGHTS, a packet too large
// for a datagram as a sealed memfd.
#pragma once

#include "keeper/protocol.hpp"

namespace rooster::keeper {

/// Larger packets travel in a memfd: the kernel keeps a datagram in one piece of memory.
inline constexpr std::size_t kInlineBytes = 32 * 1024;

enum class Sending : std::uint8_t { Sent, WouldBlock, Impossible, Gone };

/// Sends all of the packet or nothing. Gone: the other side is closed, or the packet can never be
/// sent.
Sending send_packet(int channel, const Packet& packet);

enum class Receiving : std::uint8_t { Received, Nothing, Gone };

/// One packet into `packet`. A malformed one arrives as what is left of it: decoding refuses it.
Receiving receive_packet(int channel, Packet& packet);

/// The id of a request or reply whose body can't be decoded, 0 if not even that: it can still be
/// answered.
std::uint64_t id_of(const Packet& packet);

/// A SEQPACKET pair, both ends non-blocking and close-on-exec; not open where the kernel refuses.
std::pair<Descriptor, Descriptor> make_channel();

}  // namespace rooster::keeper
