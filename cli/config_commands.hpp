// `config check` and `config show`: from the files alone, no node needed.
#pragma once

#include "cli/run_cli.hpp"

#include <string>

namespace rooster::cli {

int check_config(const Console& console, const std::string& config_file, bool strict, bool as_json);
/// `app` "" shows rooster.toml.
int show_config(const Console& console, const std::string& config_file, const std::string& app,
                bool as_json);

}  // namespace rooster::cli
