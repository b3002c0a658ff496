// Segments: large TCP packets made into ordinary ones and back, as network cards do (TSO, GRO), so
// that a TUN device is read and written 64 KiB at a time. Pure: works on bytes.
#pragma once

#include "tunnel/stack.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <sys/uio.h>

namespace rooster::tunnel {

/// What stands before each packet of a device with IFF_VNET_HDR: the kernel's virtio_net_hdr, whose
/// own header is not C++.
struct OffloadHeader {
  static constexpr std::uint8_t kNeedsChecksum = 1;  // flags
  static constexpr std::uint8_t kWhole = 0;          // kind
  static constexpr std::uint8_t kTcp4 = 1;
  static constexpr std::uint8_t kTcp6 = 4;
  static constexpr std::uint8_t kEcn = 0x80;  // beside a kind

  std::uint8_t flags = 0;
  std::uint8_t kind = 0;
  std::uint16_t header_bytes = 0;
  std::uint16_t segment_bytes = 0;
  std::uint16_t checksum_start = 0;
  std::uint16_t checksum_offset = 0;
};
static_assert(sizeof(OffloadHeader) == 10);

/// Cuts what a TUN device gave into packets with checksums of their own.
class Splitter {
 public:
  /// A packet as the kernel made it: header of the offload and the bytes, which stay the caller's
  /// until is_done(). False: nothing we understand.
  bool begin(const OffloadHeader& offload, std::span<std::uint8_t> packet);
  bool is_done() const { return packet_.empty(); }
  /// Writes the next packet into `into` and returns its length; 0: it does not fit (dropped).
  std::size_t next(std::span<std::uint8_t> into);

 private:
  std::size_t finish_whole(std::span<std::uint8_t> into);

  OffloadHeader offload_{};
  std::span<std::uint8_t> packet_;
  std::size_t ip_bytes_ = 0;      // length of the IP header
  std::size_t header_bytes_ = 0;  // IP and TCP
  std::size_t payload_done_ = 0;
  std::uint32_t first_sequence_ = 0;
  std::uint16_t first_id_ = 0;  // IPv4 identification
  bool is_v6_ = false;
};

/// Joins packets of one TCP connection that follow each other.
///
/// Their checksums are not looked at: the packets come out of authenticated encryption, and what a
/// peer says wrongly harms its own connections only.
class Joiner {
 public:
  /// One write to the device.
  struct Write {
    OffloadHeader offload;
    std::span<const iovec> parts;
  };
  /// All of `packets`, in an order that keeps each connection's. Headers of joined packets are
  /// changed in place. Valid until the next call.
  std::span<const Write> join(std::span<const Packet> packets);

 private:
  struct Group {
    Packet first;
    std::size_t header_bytes;  // 0: a packet that nothing joins
    std::size_t ip_bytes;
    std::size_t segment_bytes;  // payload of all but the last
    std::size_t bytes;          // of the joined packet
    std::uint32_t next_sequence;
    bool is_open;
    std::vector<iovec> parts;
  };
  bool try_join(Group& group, Packet packet);
  void start(Packet packet);
  void finish(Group& group, Write& write);

  std::vector<Group> groups_;  // kept with their parts' memory
  std::size_t used_ = 0;
  std::vector<Write> writes_;
};

}  // namespace rooster::tunnel
