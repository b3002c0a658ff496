// UdpSocket: one family's outer UDP socket. Whole bursts go in and out by one syscall (UDP_SEGMENT,
// UDP_GRO, sendmmsg, recvmmsg); answers leave from the address the peer wrote to (PKTINFO).
#pragma once

#include "core/address.hpp"
#include "core/descriptor.hpp"
#include "core/error.hpp"
#include "core/time.hpp"
#include "tunnel/output.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>

namespace rooster::tunnel {

/// A way between two UDP endpoints. An unset local address leaves the choice to the kernel.
struct UdpPath {
  IpAddress local;
  Endpoint remote;
  friend bool operator==(const UdpPath&, const UdpPath&) = default;
};

/// Datagrams of one path that came in one piece: `segment_bytes` each, the last may be shorter.
struct UdpBurst {
  std::span<std::uint8_t> bytes;
  std::size_t segment_bytes;
  UdpPath path;
};

class UdpSocket {
 public:
  struct Counters {
    std::uint64_t received = 0;         ///< datagrams
    std::uint64_t sent = 0;             ///< datagrams
    std::uint64_t failed = 0;           ///< datagrams the kernel refused for good
    std::uint64_t segment_refused = 0;  ///< bursts that went without UDP_SEGMENT for the first time
    std::uint64_t source_cleared = 0;   ///< local addresses that were gone
  };

  /// A bound socket of the address's family; port 0 takes a free one. The unset address is all of
  /// IPv6 only. Errors: Internal, with why.
  static Result<Descriptor> bind(const Endpoint& local);
  /// Takes a bound UDP socket (bind(), or the keeper's) and sets what it needs.
  explicit UdpSocket(Descriptor socket);
  ~UdpSocket();
  UdpSocket(UdpSocket&&) noexcept;

  int fd() const { return socket_.get(); }
  bool is_v4() const { return is_v4_; }
  Endpoint local() const;

  /// What has come; none when there is nothing for now. The bytes may be changed and stay until the
  /// next call.
  std::span<const UdpBurst> receive();
  /// Sends `bytes` as datagrams of `segment_bytes` (the last may be shorter) and returns how many
  /// bytes are done with: fewer than all means the kernel has no room now. What it refuses counts
  /// as done: UDP loses datagrams. Clears `path.local` when that address has gone.
  std::size_t send(std::span<const std::uint8_t> bytes, std::size_t segment_bytes, UdpPath& path,
                   TimePoint now);
  const Counters& counters() const { return counters_; }

 private:
  struct ReceiveSpace;
  struct SendSpace;
  enum class Outcome : std::uint8_t { Sent, Full, Unsegmentable, SourceGone, Refused };
  Outcome send_segmented(std::span<const std::uint8_t> bytes, std::size_t segment_bytes,
                         const UdpPath& path);
  Outcome send_each(std::span<const std::uint8_t> bytes, std::size_t segment_bytes,
                    const UdpPath& path, std::size_t& done);
  Outcome judge(int reason, bool segmented, const UdpPath& path) const;
  bool may_segment(const Endpoint& remote, TimePoint now) const;
  void stop_segmenting(const Endpoint& remote, TimePoint now);

  Descriptor socket_;
  bool is_v4_ = false;
  std::unique_ptr<ReceiveSpace> receive_;
  std::unique_ptr<SendSpace> send_;
  struct EndpointHash {
    std::size_t operator()(const Endpoint& endpoint) const;
  };
  std::unordered_map<Endpoint, TimePoint, EndpointHash> unsegmentable_;  // until when
  Counters counters_;
};

}  // namespace rooster::tunnel
