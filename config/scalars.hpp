// Small texts with a meaning: durations, address ranges, regions, spelling. Pure.
#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace rooster::config {

/// A duration as Go writes it: "300ms", "1h2m3.5s", "0". nullopt: not one, negative or over 10
/// years.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);

/// The shortest such text: "5m", "1h30m", "250ms".
std::string to_text(std::chrono::milliseconds duration);

/// An IPv4 or IPv6 address, alone or with "/prefix".
bool is_range(std::string_view text);
bool is_ip_address(std::string_view text);

/// A region's name: lower-case letters, digits and dashes, 2 to 32 of them.
bool is_region(std::string_view text);

/// How many letters must be changed, added, removed or swapped to make `a` out of `b`.
std::size_t edit_distance(std::string_view a, std::string_view b);

/// The candidate that was probably meant; empty: none is near.
std::string_view nearest(std::string_view written, std::span<const std::string_view> candidates);

/// `path` made absolute against the folder of `file`, "." and ".." resolved in the text alone.
std::string beside(std::string_view file, std::string_view path);

}  // namespace rooster::config
