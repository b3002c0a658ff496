// Base 64 (RFC 4648): WireGuard's keys in the standard alphabet, tokens in the one for URLs. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rooster {

/// With padding, as `wg` writes keys (§4).
std::string to_base64(std::span<const std::uint8_t> bytes);
/// Without padding (§5): nothing in it needs escaping in a URL.
std::string to_base64url(std::span<const std::uint8_t> bytes);
/// Exactly what to_base64 writes; nullopt: anything else, spaces and unused bits included.
std::optional<std::vector<std::uint8_t>> from_base64(std::string_view text);

}  // namespace rooster
