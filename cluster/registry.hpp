// Registry: networks, peers, tokens and addresses of all nodes that know each other. Lives on
// control's thread: all of it is in memory and nothing waits; what changes is told to the
// subscriber (who passes it on as facts) and written through to where it is kept.
#pragma once

#include "cluster/address_book.hpp"
#include "cluster/records.hpp"
#include "core/error.hpp"

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::cluster {

/// What became different, in one step.
struct Change {
  std::vector<PeerPtr> now;              ///< new, or changed
  std::vector<PeerPtr> gone;             ///< as they were: sessions and connections end
  std::vector<std::string> tokens_gone;  ///< ids: what they authorised ends
};

/// A peer that is to be. Its token's network, apps and end are the most it can get.
struct PeerRequest {
  Key key{};
  std::optional<Key> preshared{};
  std::string name{};  ///< "" for an ephemeral one: a name is made
  std::string network = "default";
  std::string region{};
  bool ephemeral = false;
  std::vector<std::string> apps{};
  Rights rights{Right::Connect};
  std::optional<WallTime> expires{};
  bool with_token = false;  ///< static ones: also make the token that its file carries
};

struct CreatedPeer {
  PeerPtr peer;
  std::string token_text{};  ///< with_token: told once
};

struct TokenRequest {
  std::string network = "default";
  std::vector<std::string> apps{};
  Rights rights{Right::Connect};
  std::string note{};
  std::optional<std::chrono::seconds> ttl{};
};

struct CreatedToken {
  TokenPtr token;
  std::string text;  ///< what the bearer shows; told once
};

/// What `wg set` may change of a known peer.
struct PeerChange {
  std::optional<std::optional<Key>> preshared{};
  std::optional<std::uint16_t> keepalive_seconds{};
};

template <class T>
using Done = std::move_only_function<void(Result<T>)>;

/// The embedded one calls each Done before the call returns; another may take its time.
/// Errors of all: BadToken, NotAllowed, NoSuchPeer, PeerExists, TooManyPeers, BadRequest with a
/// sentence for the operator in `detail`, Internal where nothing can be kept.
class Registry {
 public:
  virtual ~Registry() = default;

  /// Networks, addresses of machines and of flycast.
  virtual AddressBook& addresses() = 0;

  /// Called for each change from now on; before it, peers() is the state.
  virtual void on_change(std::function<void(const Change&)> tell) = 0;
  virtual std::vector<PeerPtr> peers() const = 0;
  virtual PeerPtr find_peer(const Key& key) const = 0;
  /// In any network where `network` is "".
  virtual PeerPtr find_peer(std::string_view network, std::string_view name) const = 0;
  virtual std::vector<TokenPtr> tokens() const = 0;
  virtual PeerMemory memory_of(const Key& key) const = 0;

  /// Who shows `text`? `source` is slowed down after ten failures in a minute.
  virtual Result<TokenPtr> authorize(std::string_view text, const IpAddress& source,
                                     WallTime now) = 0;

  /// As an operator: any network, any right.
  virtual void create_peer(PeerRequest request, WallTime now, Done<CreatedPeer> done) = 0;
  /// By a token's bearer: static ones need Right::Peers.
  virtual void enrol(const Token& token, PeerRequest request, WallTime now,
                     Done<CreatedPeer> done) = 0;
  /// With its grants, and the peers enrolled by these. The answer is what it was.
  virtual void remove_peer(std::string network, std::string name, WallTime now,
                           Done<PeerPtr> done) = 0;
  /// Another key, the same name and address; another token, if its file had one.
  virtual void reset_peer(std::string network, std::string name, Key key, WallTime now,
                          Done<CreatedPeer> done) = 0;
  virtual void change_peer(const Key& key, PeerChange change, Done<PeerPtr> done) = 0;
  virtual void create_token(TokenRequest request, WallTime now, Done<CreatedToken> done) = 0;
  /// With the peers that were enrolled by it.
  virtual void revoke_token(std::string id, WallTime now, Done<TokenPtr> done) = 0;

  /// From the tunnel, each half minute and at the end: told to nobody, kept at the next flush().
  virtual void remember(const Key& key, const PeerMemory& memory) = 0;
  virtual void audit(AuditEntry entry) = 0;

  /// Ends what has expired and ephemeral peers that have been silent for a day; each minute.
  virtual void tick(WallTime now) = 0;
  /// Passes on what addresses() assigned and remember() took since the last time, as one batch.
  virtual void flush() = 0;
};

}  // namespace rooster::cluster
