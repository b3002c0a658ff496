// What `rooster proxy` is asked to map, from its words. Pure.
#pragma once

#include "net/connect_call.hpp"

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::cli {

/// One local port or unix socket, and where it leads.
struct ProxyMapping {
  std::uint16_t local_port = 0;  ///< 0: any free one
  std::string local_path;        ///< a unix socket instead
  net::ConnectTarget remote;

  bool is_unix() const { return !local_path.empty(); }
  friend bool operator==(const ProxyMapping&, const ProxyMapping&) = default;
};

inline constexpr std::size_t kMaxProxyMappings = 64;

/// The words of the command: "5432", "15432:5432", "0:5432", "./pg.sock:5432", and hosts
/// ("db.flycast", "fdaa:0:1::2"), each of which is for the mappings since the last one. Mappings
/// without a host lead to `app`.internal. The error is a sentence with what to write instead.
std::expected<std::vector<ProxyMapping>, std::string> parse_mappings(
    const std::vector<std::string>& words, std::string_view app);

}  // namespace rooster::cli
