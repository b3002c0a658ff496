// Which file of an app's [[statics]] a request's path names; pure.
#pragma once

#include "config/app_config.hpp"

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace rooster::proxy {

/// The file below the app's directory that `path` (as sent, without the query) stands for, by the
/// longest url_prefix. nullopt: none can be meant. Never a path with a segment that begins with a
/// dot (but .well-known), nor one with an encoded slash.
std::optional<std::string> static_path(std::span<const config::Static> statics,
                                       std::string_view path);

/// By the name's ending; "application/octet-stream" where that says nothing.
std::string_view content_type_of(std::string_view path);

}  // namespace rooster::proxy
