// AllowedIps: whose address is this? The longest prefix wins; a prefix has one owner (paper §2).
#pragma once

#include "tunnel/output.hpp"
#include "tunnel/prefix.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

namespace rooster::tunnel {

/// A path-compressed binary trie for each family: a lookup visits at most one node per stored
/// prefix that contains the address, and the branches between them.
class AllowedIps {
 public:
  /// Gives `prefix` to `peer`; returns whom it belonged to before, if another.
  std::optional<PeerId> assign(const Prefix& prefix, PeerId peer);
  /// Only if it is `peer`'s.
  bool remove(const Prefix& prefix, PeerId peer);
  std::optional<PeerId> find(const IpAddress& address) const;
  std::size_t size() const { return prefixes_; }

 private:
  using Bits = std::array<std::uint8_t, 16>;
  using Index = std::uint32_t;
  static constexpr Index kNone = ~Index{0};
  struct Node {
    Bits bits{};
    std::uint8_t length = 0;  ///< of 128: v4 counts in its mapped form
    PeerId owner{0};          ///< 0: only a branch
    std::array<Index, 2> children{kNone, kNone};
  };
  enum Family : std::uint8_t { V4, V6 };

  Index make_node(const Bits& bits, unsigned length, PeerId owner);
  void free_node(Index index);
  void collapse(Index* link);

  std::vector<Node> nodes_;
  std::vector<Index> free_;
  std::array<Index, 2> roots_{kNone, kNone};
  std::size_t prefixes_ = 0;
};

}  // namespace rooster::tunnel
