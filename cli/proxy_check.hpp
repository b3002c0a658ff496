// `rooster proxy --check`: each step of the way from this machine to the app's port, tried in
// order, with what was found and what to do where one fails.
#pragma once

#include "cli/developer_way.hpp"
#include "cli/proxy_mapping.hpp"
#include "cli/run_cli.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace rooster::cli {

/// One step's outcome.
struct CheckStep {
  enum class Outcome : std::uint8_t {
    Fine,
    Failed,   ///< the way does not work without it
    Without,  ///< it works without it
  };
  std::string name;
  Outcome outcome = Outcome::Fine;
  std::string text;
};
/// "ok      udp     answered in 23ms", "FAILED  token   ...", "-       udp     ..."; or JSON.
std::string check_line(const CheckStep& step, bool as_json);

/// Exit status 0 only where every target's port was reached. Wakes the targets.
int check_proxy(const DeveloperOptions& options, const std::vector<ProxyMapping>& mappings,
                const Console& console);

}  // namespace rooster::cli
