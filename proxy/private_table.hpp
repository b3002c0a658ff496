// PrivateTable: who speaks from a private address, and what a private destination or name leads to.
// One per worker, changed by facts on the worker's own thread; pure.
#pragma once

#include "core/address.hpp"
#include "core/fault.hpp"
#include "core/ids.hpp"
#include "machines/app_view.hpp"
#include "proxy/peer_load.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace rooster::proxy {

/// What the data path knows of a WireGuard peer. A fact: a later one with the same address replaces
/// it.
struct PeerFact {
  IpAddress address{};  ///< the peer's own; all of its /120 is the peer's
  NetworkId network{};
  std::string name{};
  std::string token{};              ///< id of the token it was made with; "": an operator made it
  std::vector<std::string> apps{};  ///< which it may reach; empty: all of its network
  bool may_connect = true;          ///< its token's right
  bool removed = false;
  std::shared_ptr<PeerLoad> load{};  ///< its limits, one for all workers; null: none are kept
};
using PeerFactPtr = std::shared_ptr<const PeerFact>;

/// Who speaks.
struct PrivateSource {
  enum class Who : std::uint8_t {
    Machine,
    Peer,
    Operator,  ///< by the admin socket: every network
  };
  Who who = Who::Machine;
  NetworkId network{};
  IpAddress address{};  ///< unset for an operator
  AppId app{};          ///< a machine's
  std::string name{};   ///< the machine's id, the peer's name, "operator"
  PeerFactPtr peer{};   ///< null unless a peer
};

/// Where a connection is to go.
struct PrivateTarget {
  enum class Kind : std::uint8_t {
    Refused,   ///< `fault`
    Service,   ///< the app's service behind external port `port` (flycast)
    Machines,  ///< port `port` of the app's machines' own addresses, of those named below
    Dns,
    Api,
    Egress,  ///< out of the private networks
  };
  Kind kind = Kind::Refused;
  Fault fault = Fault::NoRoute;
  AppId app{};
  std::uint16_t port = 0;
  std::string machine{};  ///< its id; "": any
  std::string region{};   ///< "": any
  std::string group{};    ///< process group; "": any
};

class PrivateTable {
 public:
  /// Takes the app's addresses and name in, or in place of what it had before.
  void adopt(const machines::AppViewPtr& view);
  void adopt(const PeerFactPtr& fact);

  /// Whose address this is; nullopt: nobody's. Machines answer for their /112 and their private
  /// IPv4, peers for their /120.
  std::optional<PrivateSource> source(const IpAddress& address) const;
  /// What a connection from `source` to `to` leads to. One network never sees another's addresses
  /// (contract 12), a peer only the apps that its token names.
  PrivateTarget destination(const PrivateSource& source, const Endpoint& to) const;
  /// The same for a name: `<app>.internal`, `<region>.<app>.internal`, `<id>.vm.<app>.internal`,
  /// `<group>.process.<app>.internal`, `top<n>.nearest.of.<app>.internal`, `<app>.flycast`,
  /// `_api.internal`, or an address. An operator may leave out the suffix: `<app>` is
  /// `<app>.internal`.
  PrivateTarget find(const PrivateSource& source, std::string_view name, std::uint16_t port) const;

  std::size_t peers() const { return peers_.size(); }

 private:
  struct Hash {
    std::size_t operator()(const IpAddress& address) const;
  };
  struct MachineEntry {
    AppId app;
    MachineId id;
  };
  struct App {
    NetworkId network{};
    std::string name;
    IpAddress flycast{};
    std::vector<MachineEntry> machines;
    std::vector<IpAddress> keys;  // of machines_, as they are entered
  };

  static App read(const machines::AppView& view);
  void forget(AppId id);
  PrivateTarget allowed(const PrivateSource& source, AppId app, PrivateTarget target) const;
  PrivateTarget internal_name(const PrivateSource& source, std::string_view name,
                              std::uint16_t port) const;
  std::optional<AppId> find_app(std::string_view name) const;

  std::unordered_map<AppId, App> apps_;  // only those with a private address
  std::unordered_map<std::string, AppId> names_;
  std::unordered_map<IpAddress, AppId, Hash> flycasts_;
  std::unordered_map<IpAddress, MachineEntry, Hash> machines_;  // by their /112, and their IPv4
  std::unordered_map<IpAddress, PeerFactPtr, Hash> peers_;      // by their /120
};

}  // namespace rooster::proxy
