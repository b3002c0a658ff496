// `rooster ping [host]`: echo requests through the tunnel. They wake nothing.
#pragma once

#include "cli/developer_way.hpp"
#include "cli/run_cli.hpp"
#include "core/address.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace rooster::cli {

struct PingCommand {
  std::string target;              ///< "": the gateway
  std::uint64_t count = 0;         ///< -n; 0: until Ctrl-C
  std::string interval = "1s";     ///< -i; at least 100ms
  std::size_t payload_bytes = 12;  ///< -s; at most 1000
};

/// "gateway" and "" are the gateway (no address yet), names end in .internal or .flycast. The error
/// is flyctl's.
struct PingTarget {
  std::string name;
  std::optional<IpAddress> address;  ///< of a literal
  bool is_gateway = false;
};
std::expected<PingTarget, std::string> parse_ping_target(std::string_view text);
/// "1s", "200ms", "0.5s"; nullopt: not a duration, or less than 100 ms.
std::optional<std::chrono::milliseconds> parse_interval(std::string_view text);
/// "12 bytes from fdaa:0:1::3 (gateway), seq=0 time=1.2ms"
std::string ping_line(std::size_t bytes, const IpAddress& from, std::string_view name,
                      std::uint64_t sequence, std::chrono::nanoseconds took);

int run_ping(const DeveloperOptions& options, const PingCommand& command, const Console& console);

}  // namespace rooster::cli
