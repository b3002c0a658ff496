// The lines of a start: where the node listens, each app's URL, and what of it is public.
#pragma once

#include "config/config_set.hpp"
#include "core/log.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace rooster::app {

/// Writes them to `log`; at most some twenty apps by name.
void report_start(Log& log, const config::ConfigSet& config,
                  const std::vector<std::string>& listening, std::uint16_t https_port,
                  const std::string& local_ca_file);

}  // namespace rooster::app
