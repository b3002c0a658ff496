// How a developer's command finds its app and its way into the network.
#pragma once

#include "cli/way.hpp"

#include <memory>
#include <string>

namespace rooster::cli {

/// What the developer's commands have in common.
struct DeveloperOptions {
  std::string config_file;     ///< -c: on the node itself, through its admin socket
  std::string peer_file;       ///< --peer: a peer's file of `rooster wireguard create`
  std::string stack = "auto";  ///< --stack: auto, netns or lwip
  std::string app;             ///< -a
  std::string network;         ///< --network: which login, where there are several
  bool as_json = false;
  bool quiet = false;
  bool verbose = false;
};

/// `given` (-a), else $FLY_APP, else the app of fly.toml in `folder`; "" if none says.
std::string find_app_name(const std::string& given, const char* environment,
                          const std::string& folder);
/// What to do where no app is named.
std::string no_app_text();

/// Errors: a sentence with what to do next in `detail`. `tell` gets what happens to the way.
Result<std::unique_ptr<Way>> choose_way(const DeveloperOptions& options, Loop& loop,
                                        Way::Tell tell);

}  // namespace rooster::cli
