#include "cluster/embedded_registry.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>

namespace rooster::cluster {
namespace {

constexpr std::size_t kMostNote = 200;
constexpr auto kLongestLife = std::chrono::years(10);

}  // namespace

EmbeddedRegistry::EmbeddedRegistry(AddressBook::Options options, Random random,
                                   std::function<void(Rows)> keep)
    : random_(std::move(random)),
      keep_(std::move(keep)),
      addresses_(options, random_, [this](Row row) { pending_.push_back(std::move(row)); }) {}

void EmbeddedRegistry::restore(const Rows& rows) {
  for (const Row& row : rows) {
    addresses_.restore(row);
    if (const auto* peer = std::get_if<Peer>(&row)) {
      index(std::make_shared<const Peer>(*peer));
    } else if (const auto* memory = std::get_if<MemoryRow>(&row)) {
      memories_[memory->key] = memory->memory;
    } else if (const auto* token = std::get_if<Token>(&row)) {
      tokens_[token->id] = std::make_shared<const Token>(*token);
    }
  }
}

// ---- looking

std::vector<PeerPtr> EmbeddedRegistry::peers() const {
  std::vector<PeerPtr> list;
  for (const auto& [place, key] : by_name_) list.push_back(peers_.at(key));
  return list;
}

PeerPtr EmbeddedRegistry::find_peer(const Key& key) const {
  const auto found = peers_.find(key);
  return found == peers_.end() ? nullptr : found->second;
}

PeerPtr EmbeddedRegistry::find_peer(std::string_view network, std::string_view name) const {
  const auto found = one_peer(network, name);
  return found ? *found : nullptr;
}

Result<PeerPtr> EmbeddedRegistry::one_peer(std::string_view network, std::string_view name) const {
  const std::string key = name_key(name);
  PeerPtr found;
  for (const Network& one : addresses_.networks()) {
    if (!network.empty() && name_key(one.name) != name_key(network)) continue;
    const auto place = by_name_.find({one.id, key});
    if (place == by_name_.end()) continue;
    if (found) return fail(Fault::BadRequest, "more than one network has it: name the network too");
    found = peers_.at(place->second);
  }
  if (found) return found;
  return fail(Fault::NoSuchPeer, "no peer \"" + std::string(name) + "\"");
}

std::vector<TokenPtr> EmbeddedRegistry::tokens() const {
  std::vector<TokenPtr> list;
  for (const auto& [id, token] : tokens_) list.push_back(token);
  return list;
}

PeerMemory EmbeddedRegistry::memory_of(const Key& key) const {
  const auto found = memories_.find(key);
  return found == memories_.end() ? PeerMemory() : found->second;
}

Result<TokenPtr> EmbeddedRegistry::authorize(std::string_view text, const IpAddress& source,
                                             WallTime now) {
  if (!failures_.may_try(source, now)) return fail(Fault::TokenBackoff);
  const auto shown = parse_token_text(text);
  const auto found = shown ? tokens_.find(shown->id) : tokens_.end();
  if (found == tokens_.end() || !is_same_secret(found->second->secret_hash, shown->secret_hash) ||
      found->second->expires.value_or(WallTime::max()) <= now) {
    failures_.failed(source, now);
    return fail(Fault::BadToken);
  }
  return found->second;
}

// ---- tokens

Result<CreatedToken> EmbeddedRegistry::make_token(TokenRequest request, WallTime now) {
  if (auto may = may_make(); !may) return fail(may.error());
  if (!is_network_name(request.network)) {
    return fail(Fault::BadRequest,
                "a network's name is a letter and then letters, digits and dashes, 63 at most");
  }
  if (!are_app_names(request.apps)) return fail(Fault::BadRequest, "those are no names of apps");
  if (request.rights == Rights()) {
    return fail(Fault::BadRequest, "a token needs a right: connect, exec or peers");
  }
  if (request.ttl && (request.ttl->count() <= 0 || *request.ttl > kLongestLife)) {
    return fail(Fault::BadRequest, "a token lives for more than nothing and at most 10 years");
  }
  request.note.resize(std::min(request.note.size(), kMostNote));
  TokenText text = make_token_text(random_);
  while (tokens_.contains(text.id)) text = make_token_text(random_);
  Token token{.id = text.id,
              .secret_hash = text.secret_hash,
              .network = addresses_.network(request.network),
              .apps = std::move(request.apps),
              .rights = request.rights,
              .note = std::move(request.note),
              .created = now};
  if (request.ttl) token.expires = now + *request.ttl;
  auto shared = std::make_shared<const Token>(token);
  pending_.emplace_back(std::move(token));
  tokens_[text.id] = shared;
  return CreatedToken{.token = std::move(shared), .text = std::move(text.text)};
}

void EmbeddedRegistry::create_token(TokenRequest request, WallTime now, Done<CreatedToken> done) {
  auto made = make_token(std::move(request), now);
  flush();
  done(std::move(made));
}

void EmbeddedRegistry::revoke_token(std::string id, WallTime now, Done<TokenPtr> done) {
  const auto found = tokens_.find(id);
  if (found == tokens_.end()) {
    return done(fail(Fault::BadRequest, "no token has this id; `rooster tokens list` shows them"));
  }
  TokenPtr token = found->second;
  Change change;
  drop_token(token->id, now, change);
  finish(change);
  done(std::move(token));
}

// A child may have grants of its own, which go with it; these have none.
void EmbeddedRegistry::drop_token(const std::string& id, WallTime now, Change& change) {
  if (tokens_.erase(id) > 0) {
    pending_.emplace_back(TokenGone{.id = id});
    change.tokens_gone.push_back(id);
  }
  const auto children = children_.find(id);
  if (id.empty() || children == children_.end()) return;
  const std::set<Key> keys = children->second;
  for (const Key& key : keys) drop_peer(key, now, change);
}

// ---- the rest

void EmbeddedRegistry::remember(const Key& key, const PeerMemory& memory) {
  if (!peers_.contains(key)) return;
  PeerMemory& kept = memories_[key];
  if (kept == memory) return;
  kept = memory;
  pending_.emplace_back(MemoryRow{.key = key, .memory = memory});
}

void EmbeddedRegistry::audit(AuditEntry entry) {
  pending_.emplace_back(std::move(entry));
  flush();
}

void EmbeddedRegistry::tick(WallTime now) {
  Change change;
  std::vector<std::string> ended;
  for (const auto& [id, token] : tokens_) {
    if (token->expires && *token->expires <= now) ended.push_back(id);
  }
  for (const std::string& id : ended) drop_token(id, now, change);
  std::vector<Key> silent;
  for (const auto& [key, peer] : peers_) {
    const bool is_over = peer->expires && *peer->expires <= now;
    if (is_over || (peer->ephemeral && last_seen(*peer) + kSilence <= now)) silent.push_back(key);
  }
  for (const Key& key : silent) drop_peer(key, now, change);
  finish(change);
}

void EmbeddedRegistry::finish(const Change& change) {
  flush();
  if (!change.now.empty() || !change.gone.empty() || !change.tokens_gone.empty()) tell_(change);
}

void EmbeddedRegistry::flush() {
  if (!pending_.empty()) keep_(std::exchange(pending_, {}));
}

}  // namespace rooster::cluster
