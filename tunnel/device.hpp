// Device: WireGuard without I/O, for one private key and any number of peers. The caller moves
// datagrams and packets, tells the time, and sends what lands in Output.
//
//   datagram -> receive() -> packet (decrypted in place) and, in Output, answers
//   packet   -> send()    -> datagram in Output, or a place in the peer's queue and an initiation
//   time     -> tick()    -> retries, keepalives, rekeys; due at next_tick()
//
// One thread. Source: the WireGuard paper (https://www.wireguard.com/papers/wireguard.pdf).
#pragma once

#include "tunnel/key.hpp"
#include "tunnel/moment.hpp"
#include "tunnel/output.hpp"
#include "tunnel/prefix.hpp"
#include "tunnel/random_source.hpp"
#include "tunnel/tai64n.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace rooster::tunnel {

/// Before a packet: type, receiver, counter. Where a packet was decrypted in place, these bytes are
/// free for the caller (a virtio_net_hdr fits).
inline constexpr std::size_t kDataHeaderBytes = 16;
inline constexpr std::size_t kTagBytes = 16;
inline constexpr std::size_t kDataOverheadBytes = kDataHeaderBytes + kTagBytes;
/// The largest inner packet: with its overhead and padding it fits a UDP datagram.
inline constexpr std::size_t kMaxPacketBytes = 65'456;

struct DeviceOptions {
  std::size_t mtu = 1420;  ///< padding never makes a packet longer than this
  /// Initiations a second beyond which cookies are asked for; 0: always.
  std::uint32_t initiations_before_cookies = 200;
  /// The protocol's times (§6.5). A gateway that says sooner that it hears lets its clients notice
  /// sooner that it does not.
  Duration keepalive_after = std::chrono::seconds(10);  ///< data came, and nothing went back
  Duration no_answer_after = std::chrono::seconds(15);  ///< data went, and nothing came
};

struct PeerSettings {
  PublicKey key;
  PresharedKey preshared;
  std::vector<Prefix> allowed_ips;
  TunnelEndpoint endpoint;  ///< None: waits for the peer to come
  std::chrono::seconds keepalive{0};
};

/// What a set field holds replaces the peer's.
struct PeerChange {
  std::optional<PresharedKey> preshared;
  std::optional<std::vector<Prefix>> allowed_ips;
  std::vector<Prefix> more_allowed_ips;
  std::optional<TunnelEndpoint> endpoint;
  std::optional<std::chrono::seconds> keepalive;
};

struct PeerStatistics {
  PublicKey key;
  TunnelEndpoint endpoint;
  std::optional<WallTime> last_handshake;
  std::optional<TimePoint> last_received;  ///< boot time of the last authenticated datagram
  std::uint64_t received_bytes = 0;        ///< as `wg show` counts: whole datagrams
  std::uint64_t sent_bytes = 0;
  std::uint64_t wrong_source = 0;     ///< packets from an address that is not the peer's
  std::uint64_t dropped = 0;          ///< packets that never left: queue full, or it gave up
  std::uint32_t endpoint_flaps = 0;   ///< returns to the endpoint before, in the last 60 s
  bool has_session = false;           ///< datagrams can be sent now
  bool is_shared_key_likely = false;  ///< more than 3 flaps in 60 s: two live processes, one key
};

/// What should outlive the process, per peer.
struct PeerFacts {
  PublicKey key;
  TunnelEndpoint endpoint;   ///< never a Ws: that connection is gone
  Tai64n greatest_received;  ///< an initiation not later than this is a replay
  Tai64n last_sent;          ///< our next one must be later
  std::optional<WallTime> last_handshake;
};

struct DeviceStatistics {
  std::uint64_t wrong_mac = 0;      ///< datagrams dropped by mac1 or shape
  std::uint64_t unknown_index = 0;  ///< for no session of ours
  std::uint64_t unauthentic = 0;    ///< decryption failed
  std::uint64_t replayed = 0;       ///< counter or time stamp seen before
  std::uint64_t unknown_peer = 0;   ///< well made initiations by strangers
  std::uint64_t rate_limited = 0;   ///< initiations over a source's share
  std::uint64_t cookies_sent = 0;
  std::uint64_t cookies_received = 0;
  std::uint64_t no_route = 0;  ///< packets to nobody's allowed IPs
};

/// What receive() found. The packet lies inside the datagram that was given.
struct Received {
  PeerId peer;                     ///< who sent it, where it was authenticated; else 0
  std::span<std::uint8_t> packet;  ///< the inner packet, from an address of the peer's; else empty
};

enum class Sent : std::uint8_t {
  Now,         ///< encrypted into the output
  Queued,      ///< copied; goes when there is a session
  NoRoute,     ///< no peer has that destination
  Invalid,     ///< not an IP packet, or too large
  NoEndpoint,  ///< nobody knows where the peer is: dropped
};

class Device {
 public:
  /// `random` must outlive it.
  Device(const PrivateKey& key, const DeviceOptions& options, RandomSource& random);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const PublicKey& public_key() const;
  const PrivateKey& private_key() const;
  /// Another key: all sessions go. Peers whose key does not agree with it are removed.
  void set_private_key(const PrivateKey& key);
  void set_mtu(std::size_t mtu);

  // Peers.
  /// Unset where the key is ours, already a peer's, or a low-order point (no shared secret).
  /// Prefixes that another peer has move to this one.
  std::optional<PeerId> add_peer(const PeerSettings& settings, Moment now);
  bool update_peer(PeerId peer, const PeerChange& change, Moment now);
  bool remove_peer(PeerId peer);
  std::optional<PeerId> find_peer(const PublicKey& key) const;
  std::vector<PeerId> peers() const;
  /// What add_peer() would be given now.
  std::optional<PeerSettings> settings(PeerId peer) const;
  std::optional<PeerStatistics> statistics(PeerId peer, Moment now) const;
  const DeviceStatistics& statistics() const;
  /// Who has `address`: the owner of the longest prefix.
  std::optional<PeerId> route(const IpAddress& address) const;

  // The way of the bytes.
  /// Takes one datagram; it is decrypted where it lies.
  Received receive(std::span<std::uint8_t> datagram, const TunnelEndpoint& from, Moment now,
                   Output& out);
  /// Encrypts one packet to the peer that owns its destination.
  Sent send(std::span<const std::uint8_t> packet, Moment now, Output& out);
  /// Everything that is due.
  void tick(Moment now, Output& out);
  /// When tick() is next due: never early, kNever if nothing waits. A little too soon is possible.
  TimePoint next_tick() const;

  // Handshakes by will.
  /// Begins a handshake now, whatever session there is (not sooner than 20 ms after the last
  /// initiation: then tick() sends it). False: no such peer, or no endpoint.
  bool initiate(PeerId peer, Moment now, Output& out);
  /// The bytes of the initiation that waits for its answer, for sending them another way too;
  /// empty if none does. Whichever way the answer comes becomes the peer's endpoint.
  std::span<const std::uint8_t> last_initiation(PeerId peer) const;
  /// For clock jumps and sleep: forgets every session and handshake under way, so that no key
  /// outlives its time. The next packet, or initiate(), makes new ones.
  void drop_sessions(Moment now);
  /// After a WebSocket went: peers that used it have no endpoint until one is known again.
  void forget_websocket(std::uint32_t ws);

  // What outlives the process.
  std::vector<PeerFacts> facts() const;
  /// Of peers added before; facts of others are ignored.
  void restore(std::span<const PeerFacts> facts, Moment now);

 private:
  class Core;
  std::unique_ptr<Core> core_;
};

}  // namespace rooster::tunnel
