// Rows: what the registry writes through to where it is kept. A batch is one transaction.
#pragma once

#include "cluster/records.hpp"

#include <string>
#include <variant>
#include <vector>

namespace rooster::cluster {

/// A network, and the peer index that is tried next in it.
struct NetworkRow {
  Network network;
  std::uint32_t next_peer = 0;
  friend bool operator==(const NetworkRow&, const NetworkRow&) = default;
};
/// The 32 bits of a machine's address.
struct MachineRow {
  MachineId machine;
  std::uint32_t part = 0;
  friend bool operator==(const MachineRow&, const MachineRow&) = default;
};
struct FlycastRow {
  NetworkId network;
  std::string app;
  std::uint32_t n = 0;
  friend bool operator==(const FlycastRow&, const FlycastRow&) = default;
};
struct PeerGone {
  Key key{};
  friend bool operator==(const PeerGone&, const PeerGone&) = default;
};
struct MemoryRow {
  Key key{};
  PeerMemory memory;
  friend bool operator==(const MemoryRow&, const MemoryRow&) = default;
};
struct TokenGone {
  std::string id;
  friend bool operator==(const TokenGone&, const TokenGone&) = default;
};

using Row = std::variant<NetworkRow, MachineRow, FlycastRow, Peer, PeerGone, MemoryRow, Token,
                         TokenGone, AuditEntry>;
using Rows = std::vector<Row>;

}  // namespace rooster::cluster
