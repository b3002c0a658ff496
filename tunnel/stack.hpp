// Stack: TCP/IP inside the tunnel, as ordinary descriptors. Two make it: NetnsStack (the kernel's
// TCP in a network namespace of its own, over a TUN device) and LwipStack (lwIP over socketpairs).
// What either puts out or takes in goes through its PacketPort, which the DeviceLoop drives.
#pragma once

#include "core/address.hpp"
#include "core/descriptor.hpp"
#include "core/error.hpp"
#include "core/loop.hpp"
#include "core/stream.hpp"
#include "core/task.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

namespace rooster::tunnel {

/// A connection through the stack. `local` and `remote` are said here because getsockname() knows
/// nothing of them on a socketpair: nobody above the stack asks a descriptor for its addresses.
struct Dialled {
  Descriptor fd;  ///< non-blocking
  Endpoint local;
  Endpoint remote;
  /// Set where the connection ends through a flag instead of the kernel's RST: give it to
  /// Stream::watch_reset(). Null where the kernel tells by itself.
  ResetFlag reset;
};

/// A packet (inner: IPv4 or IPv6) in memory that somebody else owns.
using Packet = std::span<std::uint8_t>;

/// Where a stack's packets go in and out. Belongs to one loop.
class PacketPort {
 public:
  static constexpr std::size_t kMaxPackets = 256;       ///< in one take()
  static constexpr std::size_t kMaxPacketBytes = 2048;  ///< of one packet

  virtual ~PacketPort() = default;
  /// Becomes readable when take() has something to give (edge-triggered: take until it is empty).
  virtual int fd() const = 0;
  /// What the stack wants to send: at most kMaxPackets, none when there is nothing for now. They
  /// stay where they are until the next call of take() and may be changed.
  virtual std::span<const Packet> take() = 0;
  /// Packets for the stack, in order. What it has no room for is dropped, as on any wire; the
  /// packets' memory is the caller's again afterwards, with anything in it.
  virtual void give(std::span<const Packet> packets) = 0;
  /// Packets that give() had to drop.
  virtual std::uint64_t dropped() const = 0;
};

/// What a stack that terminates others' connections is told (lwIP as a gateway; in a namespace the
/// workers' transparent listeners accept by themselves).
struct Inbound {
  /// Is anything to accept a connection from `remote` to `local`? Asked at its SYN; a connection
  /// that nobody wants is reset.
  std::move_only_function<bool(const Endpoint& local, const Endpoint& remote)> is_wanted;
  /// An accepted connection, on the stack's thread.
  std::move_only_function<void(Dialled connection)> accepted;
};

class Stack {
 public:
  virtual ~Stack() = default;
  /// "netns" or "lwip", as in --stack.
  virtual const char* name() const = 0;
  /// A connection to `remote` from the stack's own address. Errors, with Reached::No:
  /// UpstreamRefused, UpstreamConnectTimeout at the deadline, the interruption's fault.
  virtual Task<Dialled> dial(Endpoint remote, Waiter& waiter, TimePoint deadline) = 0;
  /// From now on accepts what `inbound` wants. Errors: Internal, where the stack can't.
  virtual Result<> listen(Inbound inbound) = 0;
  virtual PacketPort& packets() = 0;
};

}  // namespace rooster::tunnel
