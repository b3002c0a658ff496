// A peer's file: what any WireGuard client takes (wg-quick(8)), and with a comment that only
// Rooster reads, the way to further keys.
#pragma once

#include "cli/login.hpp"
#include "core/address.hpp"
#include "core/error.hpp"
#include "tunnel/key.hpp"

#include <boost/json/value.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rooster::cli {

/// Where a member of a network finds its gateway, and who it is there.
struct Membership {
  std::string name{};  ///< as the gateway calls the peer; "" where a file doesn't say
  std::string network{};
  IpAddress address{};
  IpAddress network_prefix{};  ///< of the /48
  IpAddress dns{};
  tunnel::PublicKey gateway{};
  tunnel::PresharedKey preshared{};
  std::string endpoint{};  ///< "host:port"
};

struct PeerFile {
  tunnel::PrivateKey key{};
  Membership membership{};
  std::optional<Login> enrol{};
};

/// What the gateway says of a peer it has made. Errors: UpstreamBadResponse, what is missing.
Result<Membership> read_membership(const boost::json::value& peer);

/// fly's own lines, to the byte; `split_dns`: only .internal and .flycast are asked of the gateway
/// (by resolvectl), not every name.
std::string write_peer_file(const PeerFile& peer, bool split_dns);
/// Errors: BadRequest, with the line and what is wrong.
Result<PeerFile> parse_peer_file(std::string_view text);

}  // namespace rooster::cli
