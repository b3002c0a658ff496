// Peers of a Device: how they come, change and go.
#include "tunnel/device_core.hpp"

#include <algorithm>

namespace rooster::tunnel {

Device::Core::Core(const PrivateKey& private_key_, const DeviceOptions& options_,
                   RandomSource& random_)
    : random(random_),
      options(options_),
      private_key(private_key_),
      key(private_key_),
      cookies_(algorithms, key.public_key()),
      load_(options_.initiations_before_cookies),
      jitter_(random_.next_u64()) {}

Peer* Device::Core::find(PeerId id) const {
  const auto found = peers.find(id.value);
  return found == peers.end() ? nullptr : found->second.get();
}

Peer* Device::Core::add(const PeerSettings& settings, Moment now) {
  if (settings.key == key.public_key() || by_key.contains(settings.key)) return nullptr;
  const auto shared = key.agree(settings.key);
  if (!shared) return nullptr;
  const PeerId id{++last_id_};
  auto made = std::make_unique<Peer>(id, settings.key, algorithms);
  Peer& peer = *made;
  peers.emplace(id.value, std::move(made));
  by_key.emplace(settings.key, &peer);
  peer.static_static = *shared;
  peer.timers.set_patience(options.keepalive_after, options.no_answer_after);
  PeerChange all;
  all.preshared = settings.preshared;
  all.allowed_ips = settings.allowed_ips;
  all.endpoint = settings.endpoint;
  all.keepalive = settings.keepalive;
  change(peer, all, now);
  return &peer;
}

void Device::Core::change(Peer& peer, const PeerChange& change, Moment now) {
  if (change.preshared) peer.preshared = *change.preshared;
  if (change.endpoint) peer.place.set(*change.endpoint);
  if (change.allowed_ips) {
    for (const Prefix& prefix : peer.allowed_ips) routes_.remove(prefix, peer.id);
    peer.allowed_ips.clear();
    for (const Prefix& prefix : *change.allowed_ips) assign(peer, prefix);
  }
  for (const Prefix& prefix : change.more_allowed_ips) assign(peer, prefix);
  forget_routes();
  if (change.keepalive && *change.keepalive != peer.keepalive) {
    peer.keepalive = *change.keepalive;
    peer.timers.set_persistent(peer.keepalive, now.boot);
    schedule(peer);
  }
}

void Device::Core::assign(Peer& peer, const Prefix& prefix) {
  const auto before = routes_.assign(prefix, peer.id);
  if (before) std::erase(find(*before)->allowed_ips, prefix);
  if (std::ranges::find(peer.allowed_ips, prefix) == peer.allowed_ips.end()) {
    peer.allowed_ips.push_back(prefix);
  }
}

void Device::Core::forget_routes() {
  ++routes_version_;
  last_owner_ = nullptr;
}

Peer* Device::Core::owner_of(const IpAddress& address) {
  if (last_owner_ != nullptr && address == last_destination_) return last_owner_;
  const auto owner = routes_.find(address);
  if (!owner) return nullptr;
  last_destination_ = address;
  last_owner_ = find(*owner);
  return last_owner_;
}

void Device::Core::remove(Peer& peer) {
  for (const Prefix& prefix : peer.allowed_ips) routes_.remove(prefix, peer.id);
  forget_routes();
  drop_sessions(peer);
  by_key.erase(peer.key);
  peers.erase(peer.id.value);
}

void Device::Core::drop_sessions(Peer& peer) {
  drop(peer.sessions.previous);
  drop(peer.sessions.current);
  drop(peer.sessions.next);
  drop_attempt(peer);
}

void Device::Core::set_private_key(const PrivateKey& changed) {
  private_key = changed;
  key = X25519Key(changed);
  cookies_ = CookieMaker(algorithms, key.public_key());
  std::vector<Peer*> unfit;
  for (const auto& [id, peer] : peers) {
    drop_sessions(*peer);
    const auto shared = key.agree(peer->key);
    if (shared) peer->static_static = *shared;
    if (!shared || peer->key == key.public_key()) unfit.push_back(peer.get());
  }
  for (Peer* const peer : unfit) remove(*peer);
}

}  // namespace rooster::tunnel
