// EmbeddedRegistry, its peers: made by an operator or enrolled by a token, given another key,
// removed.
#include "cluster/embedded_registry.hpp"

#include <algorithm>

namespace rooster::cluster {
namespace {

constexpr std::size_t kGeneratedBytes = 12;

bool holds(const std::vector<std::string>& apps, const std::string& app) {
  return std::ranges::any_of(
      apps, [&app](const std::string& one) { return name_key(one) == name_key(app); });
}

std::optional<WallTime> earlier(std::optional<WallTime> a, std::optional<WallTime> b) {
  if (!a || !b) return a ? a : b;
  return std::min(*a, *b);
}

}  // namespace

void EmbeddedRegistry::create_peer(PeerRequest request, WallTime now, Done<CreatedPeer> done) {
  Change change;
  auto made = make_peer(std::move(request), "", now, change);
  finish(change);
  done(std::move(made));
}

void EmbeddedRegistry::enrol(const Token& token, PeerRequest request, WallTime now,
                             Done<CreatedPeer> done) {
  const bool is_allowed = token.rights.has(request.ephemeral ? Right::Connect : Right::Peers) &&
                          std::ranges::all_of(request.apps, [&token](const std::string& app) {
                            return token.apps.empty() || holds(token.apps, app);
                          });
  if (!is_allowed || !tokens_.contains(token.id)) return done(fail(Fault::NotAllowed));
  request.network = addresses_.name_of(token.network);
  if (request.apps.empty()) request.apps = token.apps;
  request.rights = Rights::from_bits(request.rights.bits() & token.rights.bits());
  request.expires = earlier(request.expires, token.expires);
  Change change;
  auto made = make_peer(std::move(request), token.id, now, change);
  finish(change);
  done(std::move(made));
}

Result<> EmbeddedRegistry::may_make() const {
  if (unwritable_.empty()) return {};
  return fail(Fault::Internal, "nothing new can be kept: " + unwritable_);
}

Result<> EmbeddedRegistry::check(const PeerRequest& request) const {
  if (!is_network_name(request.network)) {
    return fail(Fault::BadRequest,
                "a network's name is a letter and then letters, digits and dashes, 63 at most");
  }
  if (!request.rights.has(Right::Connect)) {
    return fail(Fault::NotAllowed, "a peer without the right to connect is none");
  }
  if (request.key == Key{}) return fail(Fault::BadRequest, "that is no public key");
  if (!are_app_names(request.apps)) return fail(Fault::BadRequest, "those are no names of apps");
  const bool is_generated = request.ephemeral && request.name.empty();
  if (!is_generated && !is_peer_name(request.name)) {
    return fail(Fault::BadRequest,
                "a peer's name is made of letters, digits and dashes, 63 at most");
  }
  if (request.ephemeral && request.with_token) {
    return fail(Fault::BadRequest, "only a static peer can have a token of its own");
  }
  if (name_key(request.name).starts_with(kEphemeralPrefix)) {
    return fail(Fault::BadRequest, "names that begin with interactive- are given by the gateway");
  }
  return {};
}

Result<> EmbeddedRegistry::check_place(const PeerRequest& request, NetworkId network) const {
  if (peers_.contains(request.key)) {
    return fail(Fault::PeerExists, "another peer has this key");
  }
  if (by_name_.contains({network, name_key(request.name)})) {
    return fail(Fault::PeerExists, "network " + std::string(addresses_.name_of(network)) +
                                       " has a peer \"" + request.name + "\" already");
  }
  return {};
}

WallTime EmbeddedRegistry::last_seen(const Peer& peer) const {
  return std::max(peer.created, memory_of(peer.key).last_handshake);
}

// The longest silent of a token's peers leaves for a new one, unless it may still be in use.
Result<> EmbeddedRegistry::make_room(const PeerRequest& request, const std::string& token,
                                     WallTime now, Change& change) {
  const auto children = children_.find(token);
  if (children == children_.end()) return {};
  std::size_t count = 0;
  PeerPtr oldest;
  for (const Key& key : children->second) {
    const PeerPtr& peer = peers_.at(key);
    if (peer->ephemeral != request.ephemeral) continue;
    ++count;
    if (!oldest || last_seen(*peer) < last_seen(*oldest)) oldest = peer;
  }
  if (count < (request.ephemeral ? kMostChildren : kMostStatic)) return {};
  if (!request.ephemeral || last_seen(*oldest) + kNoSession > now) return fail(Fault::TooManyPeers);
  drop_peer(oldest->key, now, change);
  return {};
}

Result<CreatedPeer> EmbeddedRegistry::make_peer(PeerRequest request, const std::string& token,
                                                WallTime now, Change& change) {
  if (auto may = may_make(); !may) return fail(may.error());
  if (auto checked = check(request); !checked) return fail(checked.error());
  const NetworkId network = addresses_.network(request.network);
  if (auto free = check_place(request, network); !free) return fail(free.error());
  if (auto room = make_room(request, token, now, change); !room) return fail(room.error());
  while (request.ephemeral &&
         (request.name.empty() || by_name_.contains({network, request.name}))) {
    request.name = std::string(kEphemeralPrefix) + random_word(random_, kGeneratedBytes);
  }
  const auto peer_index = addresses_.take_peer(network, now);
  if (!peer_index) return fail(peer_index.error());
  CreatedPeer created;
  Peer peer{.key = request.key,
            .preshared = request.preshared,
            .name = request.name,
            .network = network,
            .index = *peer_index,
            .address = addresses_.address_of_peer(network, *peer_index),
            .ephemeral = request.ephemeral,
            .region = request.region,
            .token = token,
            .grants = {},
            .apps = request.apps,
            .rights = request.rights,
            .created = now,
            .expires = request.expires};
  if (request.with_token) {
    auto grants = make_grants(peer, now);
    if (!grants) return fail(grants.error());
    peer.grants = grants->token->id;
    created.token_text = std::move(grants->text);
  }
  const Key key = peer.key;
  put(std::move(peer), change);
  created.peer = peers_.at(key);
  return created;
}

// The token in a peer's file makes no further static peers: grants have no grants.
Result<CreatedToken> EmbeddedRegistry::make_grants(const Peer& peer, WallTime now) {
  const unsigned all_but_peers = Rights{Right::Connect, Right::Exec}.bits();
  TokenRequest request{.network = std::string(addresses_.name_of(peer.network)),
                       .apps = peer.apps,
                       .rights = Rights::from_bits(peer.rights.bits() & all_but_peers),
                       .note = "peer " + peer.name};
  if (peer.expires) request.ttl = std::chrono::ceil<std::chrono::seconds>(*peer.expires - now);
  return make_token(std::move(request), now);
}

void EmbeddedRegistry::remove_peer(std::string network, std::string name, WallTime now,
                                   Done<PeerPtr> done) {
  auto peer = one_peer(network, name);
  if (!peer) return done(std::move(peer));
  Change change;
  drop_peer((*peer)->key, now, change);
  finish(change);
  done(std::move(peer));
}

void EmbeddedRegistry::reset_peer(std::string network, std::string name, Key key, WallTime now,
                                  Done<CreatedPeer> done) {
  const auto old = one_peer(network, name);
  if (!old) return done(fail(old.error()));
  Change change;
  auto made = give_key(*old, key, now, change);
  finish(change);
  done(std::move(made));
}

Result<CreatedPeer> EmbeddedRegistry::give_key(const PeerPtr& old, const Key& key, WallTime now,
                                               Change& change) {
  if (auto may = may_make(); !may) return fail(may.error());
  if (key == Key{}) return fail(Fault::BadRequest, "that is no public key");
  if (peers_.contains(key)) return fail(Fault::PeerExists, "another peer has this key");
  CreatedPeer created;
  Peer peer = *old;
  peer.key = key;
  // Whoever has the old file has nothing any more.
  if (!old->grants.empty()) {
    drop_token(old->grants, now, change);
    auto grants = make_grants(peer, now);
    if (!grants) return fail(grants.error());
    peer.grants = grants->token->id;
    created.token_text = std::move(grants->text);
  }
  change.gone.push_back(old);
  unindex(*old);
  pending_.emplace_back(PeerGone{.key = old->key});
  put(std::move(peer), change);
  created.peer = peers_.at(key);
  return created;
}

void EmbeddedRegistry::change_peer(const Key& key, PeerChange what, Done<PeerPtr> done) {
  const auto found = peers_.find(key);
  if (found == peers_.end()) return done(fail(Fault::NoSuchPeer, "no peer has this key"));
  Peer peer = *found->second;
  if (what.preshared) peer.preshared = *what.preshared;
  if (what.keepalive_seconds) peer.keepalive_seconds = *what.keepalive_seconds;
  Change change;
  if (peer != *found->second) put(std::move(peer), change);
  finish(change);
  done(peers_.at(key));
}

void EmbeddedRegistry::put(Peer peer, Change& change) {
  auto shared = std::make_shared<const Peer>(peer);
  pending_.emplace_back(std::move(peer));
  index(shared);
  change.now.push_back(std::move(shared));
}

void EmbeddedRegistry::index(const PeerPtr& peer) {
  peers_[peer->key] = peer;
  by_name_[{peer->network, name_key(peer->name)}] = peer->key;
  children_[peer->token].insert(peer->key);
}

void EmbeddedRegistry::unindex(const Peer& peer) {
  const Key key = peer.key;  // `peer` may be what goes
  by_name_.erase({peer.network, name_key(peer.name)});
  const auto siblings = children_.find(peer.token);
  siblings->second.erase(key);
  if (siblings->second.empty()) children_.erase(siblings);
  memories_.erase(key);
  peers_.erase(key);
}

void EmbeddedRegistry::drop_peer(const Key& key, WallTime now, Change& change) {
  const auto found = peers_.find(key);
  if (found == peers_.end()) return;
  const PeerPtr peer = found->second;
  unindex(*peer);
  addresses_.free_peer(peer->network, peer->index, now);
  pending_.emplace_back(PeerGone{.key = key});
  change.gone.push_back(peer);
  if (!peer->grants.empty()) drop_token(peer->grants, now, change);
}

}  // namespace rooster::cluster
