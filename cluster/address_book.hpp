// AddressBook: who has which private address. Purely in memory; what it assigns it also emits as
// rows, and what was assigned once stays.
#pragma once

#include "cluster/rows.hpp"
#include "core/error.hpp"
#include "core/private_address.hpp"

#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace rooster::cluster {

/// Fills with random bytes from the kernel.
using Random = std::function<void(std::span<std::uint8_t>)>;
void kernel_random(std::span<std::uint8_t> bytes);

class AddressBook {
 public:
  struct Options {
    HostId host{2};  ///< in the addresses of machines created here
    GatewayId gateway{2};
    std::uint32_t peer_indices = kPeerIndices;
  };
  using Emit = std::function<void(Row)>;

  AddressBook(Options options, Random random, Emit emit);

  /// What was assigned before; other kinds of rows are not for the book. Peers take their index.
  void restore(const Row& row);

  /// The network of this name, made if there is none. The name must be one (is_network_name).
  NetworkId network(std::string_view name);
  std::optional<NetworkId> find_network(std::string_view name) const;
  /// "" for an unknown one.
  std::string_view name_of(NetworkId network) const;
  std::vector<Network> networks() const;

  /// The machine's address, the same as ever (its `network` may change, its own part doesn't).
  IpAddress machine(NetworkId network, const MachineId& machine);
  /// The flycast address of an app's services.
  IpAddress flycast(NetworkId network, std::string_view app);

  /// An index that nobody has and nobody had within a day. Errors: Internal, where all are taken.
  Result<std::uint32_t> take_peer(NetworkId network, WallTime now);
  void free_peer(NetworkId network, std::uint32_t index, WallTime now);
  IpAddress address_of_peer(NetworkId network, std::uint32_t index) const {
    return peer_address(network, options_.gateway, index);
  }

 private:
  struct Resting {
    std::uint32_t index;
    WallTime until;
  };
  struct NetworkState {
    Network network;
    std::uint32_t next_peer = 0;
    std::unordered_set<std::uint32_t> taken;                    // by a peer, or resting
    std::deque<Resting> resting;                                // in the order of their end
    std::map<std::string, std::uint32_t, std::less<>> flycast;  // by app
    std::uint32_t next_flycast = 2;
  };
  NetworkState& state_of(NetworkId id);
  void add_network(Network network, std::uint32_t next_peer);

  Options options_;
  Random random_;
  Emit emit_;
  std::unordered_map<NetworkId, NetworkState> networks_;
  std::map<std::string, NetworkId, std::less<>> by_name_;  // by name_key
  std::unordered_map<MachineId, std::uint32_t> machines_;
  std::unordered_set<std::uint32_t> machine_parts_;
};

}  // namespace rooster::cluster
