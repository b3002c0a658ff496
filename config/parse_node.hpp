// The text of rooster.toml -> NodeConfig, or everything that is wrong with it. Pure.
#pragma once

#include "config/diagnostic.hpp"
#include "config/node_config.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::config {

struct ParsedNode {
  std::optional<NodeConfig> node;  ///< absent if there is an error
  std::vector<Diagnostic> diagnostics;
};

/// `file`: absolute path; relative paths in the text are meant beside it.
ParsedNode parse_node(std::string_view text, const std::string& file);

/// ":80", "127.0.0.1:80", "[::1]:80"; nullopt: not one of these.
std::optional<ListenAddress> parse_listen_address(std::string_view text);

/// The same as text.
std::string to_text(const ListenAddress& address);

}  // namespace rooster::config
