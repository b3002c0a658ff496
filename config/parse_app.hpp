// The text of one apps/*.toml -> AppConfig, or everything that is wrong with it. Pure.
#pragma once

#include "config/app_config.hpp"
#include "config/diagnostic.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::config {

/// Where each name that must be unique on a node was written: for errors that name two places.
struct NamePlaces {
  Place app;                     ///< line 0: the name comes from the file's own name
  std::vector<Place> hostnames;  ///< as RoosterTable::hostnames
  friend bool operator==(const NamePlaces&, const NamePlaces&) = default;
};

struct ParsedApp {
  std::optional<AppConfig> app;  ///< absent if there is an error
  NamePlaces places;
  std::vector<Diagnostic> diagnostics;
};

/// `file`: absolute path (relative paths in the text are meant beside it; its stem names an app
/// without a name). `node_region`: where the machines run if the file names no region.
ParsedApp parse_app(std::string_view text, const std::string& file,
                    std::string_view node_region = "local");

}  // namespace rooster::config
