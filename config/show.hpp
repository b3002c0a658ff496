// The effective configuration, defaults filled in, as TOML or JSON. Pure.
#pragma once

#include "config/app_config.hpp"
#include "config/document.hpp"
#include "config/node_config.hpp"

#include <string>

namespace rooster::config {

/// As a fly.toml in the words of apps/*.toml (one [[services]] for [http_service]). Values of [env]
/// that look like secrets, and passwords in URLs, are shown as "***"; all else reads back as an
/// equal AppConfig.
Node to_document(const AppConfig& app);
/// As a rooster.toml.
Node to_document(const NodeConfig& node);

std::string to_toml(const Node& document);
std::string to_json(const Node& document);

/// `value`, or with what is secret in it replaced by "***".
std::string without_secrets(std::string_view name, std::string_view value);

}  // namespace rooster::config
