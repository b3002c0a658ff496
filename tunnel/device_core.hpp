// Device::Core: the state of a Device and its flows, each in a file of its own:
//   device_peers.cpp      peers come, change and go
//   device_handshake.cpp  initiations, responses, cookies
//   device_data.cpp       packets and sessions
//   device_timers.cpp     what is due
#pragma once

#include "tunnel/allowed_ips.hpp"
#include "tunnel/device.hpp"
#include "tunnel/peer.hpp"
#include "tunnel/rate_limit.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <queue>
#include <span>
#include <unordered_map>
#include <vector>

namespace rooster::tunnel {

class Device::Core {
 public:
  Core(const PrivateKey& private_key, const DeviceOptions& options, RandomSource& random);

  // device_peers.cpp
  Peer* find(PeerId id) const;
  Peer* add(const PeerSettings& settings, Moment now);
  void change(Peer& peer, const PeerChange& change, Moment now);
  void remove(Peer& peer);
  void set_private_key(const PrivateKey& key);
  void drop_sessions(Peer& peer);
  Peer* owner_of(const IpAddress& address);

  // device_handshake.cpp
  enum class Reason : std::uint8_t {
    Need,   ///< no session, or an old one: at most one initiation in 5 s
    Retry,  ///< the last one was not answered
    Will,   ///< somebody asked for it
  };
  bool start_handshake(Peer& peer, Reason reason, Moment now, Output& out);
  void drop_attempt(Peer& peer);
  PeerId receive_initiation(ConstInitiationBytes message, const TunnelEndpoint& from, Moment now,
                            Output& out);
  PeerId receive_response(ConstResponseBytes message, const TunnelEndpoint& from, Moment now,
                          Output& out);
  void receive_cookie(ConstCookieReplyBytes message, Moment now);

  // device_data.cpp
  Received receive(std::span<std::uint8_t> datagram, const TunnelEndpoint& from, Moment now,
                   Output& out);
  Sent send(Bytes packet, Moment now, Output& out);
  void send_keepalive(Peer& peer, Moment now, Output& out);
  void flush_queue(Peer& peer, Moment now, Output& out);
  Session* usable_session(Peer& peer, Moment now) const;

  // device_timers.cpp
  void tick(Moment now, Output& out);
  void schedule(Peer& peer);
  TimePoint next_tick() const { return due_.empty() ? kNever : due_.top().when; }

  Algorithms algorithms;
  RandomSource& random;
  DeviceOptions options;
  PrivateKey private_key;
  X25519Key key;
  std::unordered_map<std::uint32_t, std::unique_ptr<Peer>> peers;
  std::map<PublicKey, Peer*> by_key;  // ordered: keys are chosen by others, hashes would suffer
  DeviceStatistics statistics;

 private:
  struct Indexed {
    Peer* peer;
    Session* session;  ///< null: an attempt's index
  };
  struct Due {
    TimePoint when;
    PeerId peer;
    bool operator>(const Due& other) const { return when > other.when; }
  };

  // device_peers.cpp
  void assign(Peer& peer, const Prefix& prefix);
  void forget_routes();

  // device_handshake.cpp
  std::uint32_t new_index(Peer& peer);
  bool may_answer(ConstInitiationBytes message, const TunnelEndpoint& from, Moment now,
                  Output& out);
  void respond(Peer& peer, OpenedInitiation opened, std::uint32_t peer_index, Moment now,
               Output& out);
  void begin_as_initiator(Peer& peer, std::unique_ptr<Session> session);
  void begin_as_responder(Peer& peer, std::unique_ptr<Session> session);
  void put_message(Peer& peer, Bytes message, Moment now, Output& out);

  // device_data.cpp
  Received receive_data(std::span<std::uint8_t> datagram, const TunnelEndpoint& from, Moment now,
                        Output& out);
  void authenticated(Peer& peer, std::size_t bytes, const TunnelEndpoint& from, Moment now,
                     Output& out);
  void handshake_complete(Peer& peer, Moment now, Output& out);
  void drop(std::unique_ptr<Session>& session);
  void seal(Peer& peer, Session& session, Bytes packet, Moment now, Output& out);
  bool is_source_of(Peer& peer, const IpAddress& source);

  // device_timers.cpp
  void run_timers(Peer& peer, Moment now, Output& out);
  void give_up(Peer& peer, Moment now, Output& out);

  CookieMaker cookies_;
  LoadMeter load_;
  RateLimit unproven_;  ///< sources that showed no cookie: anybody can use up anybody's share
  RateLimit proven_;
  Jitter jitter_;
  AllowedIps routes_;
  std::uint64_t routes_version_ = 1;
  IpAddress last_destination_;
  Peer* last_owner_ = nullptr;
  std::unordered_map<std::uint32_t, Indexed> indices_;  // random keys of our own
  std::priority_queue<Due, std::vector<Due>, std::greater<>> due_;
  std::uint32_t last_id_ = 0;
};

}  // namespace rooster::tunnel
