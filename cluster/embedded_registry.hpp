// EmbeddedRegistry: the registry of a node alone. All in memory; rows go to `keep` in batches (one
// for each change), in order, for an Archive on another thread.
#pragma once

#include "cluster/failure_limit.hpp"
#include "cluster/registry.hpp"
#include "cluster/rows.hpp"
#include "cluster/token_text.hpp"

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace rooster::cluster {

class EmbeddedRegistry final : public Registry {
 public:
  /// Ephemeral peers of one token at a time.
  static constexpr std::size_t kMostChildren = 64;
  /// And static ones.
  static constexpr std::size_t kMostStatic = 1000;
  /// An ephemeral peer ends after so long without a handshake.
  static constexpr auto kSilence = std::chrono::hours(24);
  /// Without a handshake for so long it has no session, and leaves where its place is wanted
  /// (WireGuard paper §6.2: Reject-After-Time).
  static constexpr auto kNoSession = std::chrono::seconds(180);

  EmbeddedRegistry(AddressBook::Options options, Random random, std::function<void(Rows)> keep);

  /// What an Archive has loaded; before anything else.
  void restore(const Rows& rows);
  /// From now on nothing new is made: it could not be kept. "" ends that.
  void set_unwritable(std::string why) { unwritable_ = std::move(why); }

  AddressBook& addresses() override { return addresses_; }
  void on_change(std::function<void(const Change&)> tell) override { tell_ = std::move(tell); }
  std::vector<PeerPtr> peers() const override;
  PeerPtr find_peer(const Key& key) const override;
  PeerPtr find_peer(std::string_view network, std::string_view name) const override;
  std::vector<TokenPtr> tokens() const override;
  PeerMemory memory_of(const Key& key) const override;
  Result<TokenPtr> authorize(std::string_view text, const IpAddress& source, WallTime now) override;
  void create_peer(PeerRequest request, WallTime now, Done<CreatedPeer> done) override;
  void enrol(const Token& token, PeerRequest request, WallTime now,
             Done<CreatedPeer> done) override;
  void remove_peer(std::string network, std::string name, WallTime now,
                   Done<PeerPtr> done) override;
  void reset_peer(std::string network, std::string name, Key key, WallTime now,
                  Done<CreatedPeer> done) override;
  void change_peer(const Key& key, PeerChange change, Done<PeerPtr> done) override;
  void create_token(TokenRequest request, WallTime now, Done<CreatedToken> done) override;
  void revoke_token(std::string id, WallTime now, Done<TokenPtr> done) override;
  void remember(const Key& key, const PeerMemory& memory) override;
  void audit(AuditEntry entry) override;
  void tick(WallTime now) override;
  void flush() override;

 private:
  using PlaceInNetwork = std::pair<NetworkId, std::string>;

  Result<CreatedPeer> make_peer(PeerRequest request, const std::string& token, WallTime now,
                                Change& change);
  Result<> check(const PeerRequest& request) const;
  Result<> check_place(const PeerRequest& request, NetworkId network) const;
  Result<> make_room(const PeerRequest& request, const std::string& token, WallTime now,
                     Change& change);
  Result<CreatedPeer> give_key(const PeerPtr& old, const Key& key, WallTime now, Change& change);
  Result<CreatedToken> make_token(TokenRequest request, WallTime now);
  Result<CreatedToken> make_grants(const Peer& peer, WallTime now);
  Result<PeerPtr> one_peer(std::string_view network, std::string_view name) const;
  Result<> may_make() const;
  void put(Peer peer, Change& change);
  void drop_peer(const Key& key, WallTime now, Change& change);
  void drop_token(const std::string& id, WallTime now, Change& change);
  WallTime last_seen(const Peer& peer) const;
  void index(const PeerPtr& peer);
  void unindex(const Peer& peer);
  void finish(const Change& change);

  Random random_;
  std::function<void(Rows)> keep_;
  std::function<void(const Change&)> tell_ = [](const Change&) {};
  Rows pending_;
  AddressBook addresses_;
  FailureLimit failures_;
  std::string unwritable_;
  std::map<Key, PeerPtr> peers_;
  std::map<PlaceInNetwork, Key> by_name_;
  std::map<std::string, std::set<Key>, std::less<>> children_;  // by token
  std::map<Key, PeerMemory> memories_;
  std::map<std::string, TokenPtr, std::less<>> tokens_;
};

}  // namespace rooster::cluster
