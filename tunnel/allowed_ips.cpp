#include "tunnel/allowed_ips.hpp"

#include <algorithm>
#include <bit>
#include <utility>

namespace rooster::tunnel {
namespace {

using Bits = std::array<std::uint8_t, 16>;

std::size_t bit_at(const Bits& bits, unsigned at) {
  return bits[at / 8] >> (7 - at % 8) & 1;
}

// How many leading bits two addresses share, at most `most`.
unsigned common_bits(const Bits& left, const Bits& right, unsigned most) {
  unsigned count = 0;
  for (std::size_t byte = 0; byte < left.size() && count < most; ++byte) {
    const auto difference = static_cast<std::uint8_t>(left[byte] ^ right[byte]);
    count += static_cast<unsigned>(std::countl_zero(difference));
    if (difference != 0) break;
  }
  return std::min(count, most);
}

Bits masked(Bits bits, unsigned length) {
  for (unsigned at = 0; at < bits.size(); ++at) {
    if (8 * at >= length) {
      bits[at] = 0;
    } else if (length - 8 * at < 8) {
      bits[at] = static_cast<std::uint8_t>(bits[at] & (0xff00 >> (length - 8 * at)));
    }
  }
  return bits;
}

unsigned whole_length(const Prefix& prefix) {
  return prefix.length + (prefix.address.is_v4() ? 96U : 0U);
}

}  // namespace

AllowedIps::Index AllowedIps::make_node(const Bits& bits, unsigned length, PeerId owner) {
  Index index;
  if (free_.empty()) {
    index = static_cast<Index>(nodes_.size());
    nodes_.emplace_back();
  } else {
    index = free_.back();
    free_.pop_back();
  }
  nodes_[index] = {masked(bits, length), static_cast<std::uint8_t>(length), owner, {kNone, kNone}};
  return index;
}

void AllowedIps::free_node(Index index) {
  free_.push_back(index);
}

std::optional<PeerId> AllowedIps::assign(const Prefix& prefix, PeerId peer) {
  // Two new nodes at most: with their room made first, links into nodes_ stay valid.
  if (nodes_.capacity() - nodes_.size() < 2) nodes_.reserve(2 * nodes_.size() + 16);
  const Bits& bits = prefix.address.bytes();
  const unsigned length = whole_length(prefix);
  Index* link = &roots_[prefix.address.is_v4() ? V4 : V6];
  while (*link != kNone) {
    Node& node = nodes_[*link];
    const unsigned common = common_bits(node.bits, bits, std::min<unsigned>(node.length, length));
    if (common < node.length) {
      // They part, or the new one ends, inside this node's bits: a node goes in between.
      const Index below = *link;
      const std::size_t side = bit_at(node.bits, common);
      *link = make_node(bits, common, common == length ? peer : PeerId{0});
      Node& between = nodes_[*link];
      between.children[side] = below;
      if (common != length) between.children[1 - side] = make_node(bits, length, peer);
      ++prefixes_;
      return std::nullopt;
    }
    if (node.length == length) {
      const PeerId before = std::exchange(node.owner, peer);
      if (before.value == 0) ++prefixes_;
      if (before.value == 0 || before == peer) return std::nullopt;
      return before;
    }
    link = &node.children[bit_at(bits, node.length)];
  }
  *link = make_node(bits, length, peer);
  ++prefixes_;
  return std::nullopt;
}

bool AllowedIps::remove(const Prefix& prefix, PeerId peer) {
  const Bits& bits = prefix.address.bytes();
  const unsigned length = whole_length(prefix);
  Index* parent = nullptr;
  Index* link = &roots_[prefix.address.is_v4() ? V4 : V6];
  while (*link != kNone) {
    Node& node = nodes_[*link];
    if (node.length > length || common_bits(node.bits, bits, node.length) < node.length) {
      return false;
    }
    if (node.length == length) {
      if (node.owner != peer || peer.value == 0) return false;
      node.owner = PeerId{0};
      --prefixes_;
      collapse(link);
      if (parent != nullptr) collapse(parent);
      return true;
    }
    parent = link;
    link = &node.children[bit_at(bits, node.length)];
  }
  return false;
}

// Takes a node out that neither owns nor branches.
void AllowedIps::collapse(Index* link) {
  const Index index = *link;
  const Node& node = nodes_[index];
  if (node.owner.value != 0) return;
  if (node.children[0] != kNone && node.children[1] != kNone) return;
  *link = node.children[0] != kNone ? node.children[0] : node.children[1];
  free_node(index);
}

std::optional<PeerId> AllowedIps::find(const IpAddress& address) const {
  const Bits& bits = address.bytes();
  std::optional<PeerId> best;
  Index index = roots_[address.is_v4() ? V4 : V6];
  while (index != kNone) {
    const Node& node = nodes_[index];
    if (common_bits(node.bits, bits, node.length) < node.length) break;
    if (node.owner.value != 0) best = node.owner;
    if (node.length == 128) break;
    index = node.children[bit_at(bits, node.length)];
  }
  return best;
}

}  // namespace rooster::tunnel
