#include "tunnel/device.hpp"

#include "tunnel/device_core.hpp"

#include <algorithm>

namespace rooster::tunnel {

Device::Device(const PrivateKey& key, const DeviceOptions& options, RandomSource& random)
    : core_(std::make_unique<Core>(key, options, random)) {}

Device::~Device() = default;

const PublicKey& Device::public_key() const {
  return core_->key.public_key();
}

const PrivateKey& Device::private_key() const {
  return core_->private_key;
}

void Device::set_private_key(const PrivateKey& key) {
  core_->set_private_key(key);
}

void Device::set_mtu(std::size_t mtu) {
  core_->options.mtu = mtu;
}

std::optional<PeerId> Device::add_peer(const PeerSettings& settings, Moment now) {
  const Peer* const peer = core_->add(settings, now);
  if (peer == nullptr) return std::nullopt;
  return peer->id;
}

bool Device::update_peer(PeerId id, const PeerChange& change, Moment now) {
  Peer* const peer = core_->find(id);
  if (peer != nullptr) core_->change(*peer, change, now);
  return peer != nullptr;
}

bool Device::remove_peer(PeerId id) {
  Peer* const peer = core_->find(id);
  if (peer != nullptr) core_->remove(*peer);
  return peer != nullptr;
}

std::optional<PeerId> Device::find_peer(const PublicKey& key) const {
  const auto found = core_->by_key.find(key);
  if (found == core_->by_key.end()) return std::nullopt;
  return found->second->id;
}

std::vector<PeerId> Device::peers() const {
  std::vector<PeerId> ids;
  for (const auto& [id, peer] : core_->peers) ids.push_back(peer->id);
  std::ranges::sort(ids);
  return ids;
}

std::optional<PeerSettings> Device::settings(PeerId id) const {
  const Peer* const peer = core_->find(id);
  if (peer == nullptr) return std::nullopt;
  return PeerSettings{peer->key, peer->preshared, peer->allowed_ips, peer->place.endpoint(),
                      peer->keepalive};
}

std::optional<PeerStatistics> Device::statistics(PeerId id, Moment now) const {
  Peer* const peer = core_->find(id);
  if (peer == nullptr) return std::nullopt;
  PeerStatistics all;
  all.key = peer->key;
  all.endpoint = peer->place.endpoint();
  all.last_handshake = peer->last_handshake;
  all.last_received = peer->last_received;
  all.received_bytes = peer->received_bytes;
  all.sent_bytes = peer->sent_bytes;
  all.wrong_source = peer->wrong_source;
  all.dropped = peer->dropped;
  all.endpoint_flaps = peer->place.flaps(now.boot);
  all.has_session = core_->usable_session(*peer, now) != nullptr;
  all.is_shared_key_likely = all.endpoint_flaps > 3;
  return all;
}

const DeviceStatistics& Device::statistics() const {
  return core_->statistics;
}

std::optional<PeerId> Device::route(const IpAddress& address) const {
  const Peer* const peer = core_->owner_of(address);
  if (peer == nullptr) return std::nullopt;
  return peer->id;
}

Received Device::receive(std::span<std::uint8_t> datagram, const TunnelEndpoint& from, Moment now,
                         Output& out) {
  return core_->receive(datagram, from, now, out);
}

Sent Device::send(std::span<const std::uint8_t> packet, Moment now, Output& out) {
  return core_->send(packet, now, out);
}

void Device::tick(Moment now, Output& out) {
  core_->tick(now, out);
}

TimePoint Device::next_tick() const {
  return core_->next_tick();
}

bool Device::initiate(PeerId id, Moment now, Output& out) {
  Peer* const peer = core_->find(id);
  return peer != nullptr && core_->start_handshake(*peer, Core::Reason::Will, now, out);
}

std::span<const std::uint8_t> Device::last_initiation(PeerId id) const {
  const Peer* const peer = core_->find(id);
  if (peer == nullptr || !peer->attempt) return {};
  return peer->attempt->message;
}

void Device::drop_sessions(Moment now) {
  for (const auto& [id, peer] : core_->peers) {
    core_->drop_sessions(*peer);
    peer->dropped += peer->queue.clear();
    peer->tries = 0;
    peer->last_initiation.reset();
    peer->macs.forget_cookie();
    peer->place.forget_local();
    peer->timers.reset(now.boot);
    core_->schedule(*peer);
  }
}

void Device::forget_websocket(std::uint32_t ws) {
  for (const auto& [id, peer] : core_->peers) {
    const TunnelEndpoint& endpoint = peer->place.endpoint();
    if (endpoint.kind == TunnelEndpoint::Kind::Ws && endpoint.ws == ws) peer->place.set({});
  }
}

std::vector<PeerFacts> Device::facts() const {
  std::vector<PeerFacts> all;
  for (const auto& [key, peer] : core_->by_key) {
    TunnelEndpoint endpoint = peer->place.endpoint();
    if (endpoint.kind == TunnelEndpoint::Kind::Ws) endpoint = {};
    all.push_back({key, endpoint, peer->greatest_stamp, peer->last_stamp, peer->last_handshake});
  }
  return all;
}

void Device::restore(std::span<const PeerFacts> facts, Moment now) {
  for (const PeerFacts& fact : facts) {
    const auto found = core_->by_key.find(fact.key);
    if (found == core_->by_key.end()) continue;
    Peer& peer = *found->second;
    if (fact.endpoint && !peer.place.endpoint()) peer.place.set(fact.endpoint);
    peer.greatest_stamp = std::max(peer.greatest_stamp, fact.greatest_received);
    peer.last_stamp = std::max(peer.last_stamp, fact.last_sent);
    if (!peer.last_handshake) peer.last_handshake = fact.last_handshake;
    // The process before us may have sent its last initiation just now.
    if (!peer.last_stamp.is_zero() && now.wall - peer.last_stamp.wall() < 2 * kInitiationInterval) {
      peer.not_before = now.boot + kInitiationInterval;
    }
  }
}

}  // namespace rooster::tunnel
