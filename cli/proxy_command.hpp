// `rooster proxy`: from its options to a running session.
#pragma once

#include "cli/developer_way.hpp"
#include "cli/run_cli.hpp"

#include <string>
#include <vector>

namespace rooster::cli {

struct ProxyCommand {
  std::vector<std::string> words;  ///< mappings and hosts
  std::string bind_address;
  bool select = false;
  bool watch_input = false;
  bool check = false;
  std::vector<std::string> program;  ///< after "--"
};

int run_proxy(const DeveloperOptions& options, const ProxyCommand& command, const Console& console);

}  // namespace rooster::cli
