// What the registry holds: networks, peers, tokens, the ledger of what was executed. Values.
#pragma once

#include "core/address.hpp"
#include "core/ids.hpp"
#include "core/time.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::cluster {

/// A public key, a preshared key, a SHA-256.
using Key = std::array<std::uint8_t, 32>;

/// What a token lets its bearer do. Peers: make and remove static peers.
enum class Right : std::uint8_t { Connect = 1, Exec = 2, Peers = 4 };

class Rights {
 public:
  constexpr Rights() = default;
  constexpr Rights(std::initializer_list<Right> rights) {
    for (const Right right : rights) bits_ |= static_cast<std::uint8_t>(right);
  }
  /// "connect,exec,peers"; nullopt: another word, or none.
  static std::optional<Rights> parse(std::string_view text);
  static constexpr Rights from_bits(unsigned bits) {
    Rights rights;
    rights.bits_ = static_cast<std::uint8_t>(bits & 7U);
    return rights;
  }
  constexpr bool has(Right right) const { return (bits_ & static_cast<std::uint8_t>(right)) != 0; }
  constexpr unsigned bits() const { return bits_; }
  std::string to_string() const;
  friend bool operator==(Rights, Rights) = default;

 private:
  std::uint8_t bits_ = 0;
};

struct Network {
  NetworkId id;
  std::string name;  ///< as first written; compared without regard to case
  friend bool operator==(const Network&, const Network&) = default;
};

struct Peer {
  Key key{};  ///< public
  std::optional<Key> preshared{};
  std::string name{};  ///< unique in its network, without regard to case
  NetworkId network{};
  std::uint32_t index = 0;  ///< among the gateway's peers of this network
  IpAddress address{};      ///< …02 of the /120 that is all the peer's
  bool ephemeral = false;   ///< enrolled by a command; leaves after a day of silence
  std::string region{};
  std::string token{};              ///< id of the token it was made with; "": an operator made it
  std::string grants{};             ///< id of the token in its file; goes with the peer
  std::vector<std::string> apps{};  ///< which it may reach; empty: all of its network
  Rights rights{};
  WallTime created{};
  std::optional<WallTime> expires{};
  std::uint16_t keepalive_seconds = 0;
  friend bool operator==(const Peer&, const Peer&) = default;

  /// May it reach this app of its network?
  bool may_reach(std::string_view app) const;
};
using PeerPtr = std::shared_ptr<const Peer>;

/// TAI64N, as WireGuard sends it.
using Tai64n = std::array<std::uint8_t, 12>;

/// What of a peer's session outlives a restart of the gateway.
struct PeerMemory {
  Endpoint endpoint{};  ///< the zero endpoint: not known
  Tai64n received{};    ///< the greatest in an initiation of the peer's
  Tai64n sent{};        ///< the last in one of ours
  WallTime last_handshake{};
  friend bool operator==(const PeerMemory&, const PeerMemory&) = default;
};

struct Token {
  std::string id{};
  Key secret_hash{};  ///< SHA-256; the secret itself is nowhere
  NetworkId network{};
  std::vector<std::string> apps{};  ///< empty: all of the network
  Rights rights{};
  std::string note{};  ///< for people: whose it is
  WallTime created{};
  std::optional<WallTime> expires{};
  friend bool operator==(const Token&, const Token&) = default;

  bool allows(Right right, std::string_view app) const;
};
using TokenPtr = std::shared_ptr<const Token>;

/// One execution in a machine: who and what, never its content.
struct AuditEntry {
  std::uint64_t id = 0;  ///< written again with the same id when it ends
  std::string token{};   ///< "": by the admin socket
  std::string peer{};
  std::string app{};
  std::string machine{};
  std::vector<std::string> argv{};
  WallTime start{};
  std::optional<WallTime> end{};
  std::optional<int> exit_status{};
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  friend bool operator==(const AuditEntry&, const AuditEntry&) = default;
};

/// Names of networks, peers: 1 to 63 letters, digits and dashes (a network's begins with a letter).
bool is_peer_name(std::string_view text);
bool is_network_name(std::string_view text);
/// Names that a list of allowed apps may hold; not that such apps exist.
bool are_app_names(const std::vector<std::string>& apps);
/// The form in which names are compared.
std::string name_key(std::string_view name);

/// Peers that commands enrol are called so, and are not listed in DNS.
inline constexpr std::string_view kEphemeralPrefix = "interactive-";

}  // namespace rooster::cluster
