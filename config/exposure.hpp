// What of an app is reachable from where, in words. Pure.
#pragma once

#include "config/app_config.hpp"

#include <string>

namespace rooster::config {

/// "public 80, 443; private 5432": its external ports, those that the internet reaches first.
/// "nothing": it has no service.
std::string exposure(const AppConfig& app);

/// Does the internet reach any of them?
bool is_public(const AppConfig& app);

}  // namespace rooster::config
