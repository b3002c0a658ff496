#include "cli/proxy_mapping.hpp"

#include "core/address.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>

namespace rooster::cli {
namespace {

bool is_digits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

std::optional<std::uint16_t> port_of(std::string_view digits) {
  std::uint16_t port = 0;
  const auto [end, wrong] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (wrong != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return port;
}

std::unexpected<std::string> wrong(std::string text) {
  return std::unexpected(std::move(text));
}

// nullopt: the word is a host.
std::optional<std::expected<ProxyMapping, std::string>> parse_mapping(std::string_view word) {
  if (IpAddress::parse(word)) return std::nullopt;
  const std::size_t colon = word.rfind(':');
  const std::string_view remote = colon == std::string_view::npos ? word : word.substr(colon + 1);
  const std::string_view local = word.substr(0, std::min(colon, word.size()));
  if (colon == std::string_view::npos && !is_digits(word)) {
    if (!word.contains('/')) return std::nullopt;
    return wrong(fmt::format("{0}: say which remote port, e.g. {0}:5432", word));
  }
  if (!is_digits(remote) || local.empty()) {
    return wrong(
        fmt::format("{}: not a mapping; write 5432, 15432:5432, or a socket's path:5432", word));
  }
  ProxyMapping mapping;
  const auto remote_port = port_of(remote);
  if (!remote_port || *remote_port == 0) {
    return wrong(fmt::format("{}: the remote port must be 1 to 65535", word));
  }
  mapping.remote.port = *remote_port;
  if (!is_digits(local)) {
    mapping.local_path = std::string(local);
    return mapping;
  }
  const auto local_port = port_of(local);
  if (!local_port) return wrong(fmt::format("{}: the local port must be 0 to 65535", word));
  mapping.local_port = *local_port;
  return mapping;
}

// "" where it can be a host's name or address.
std::string why_no_host(std::string_view word) {
  const bool fits = std::ranges::all_of(word, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  });
  if (!word.empty() && word.size() <= 253 && fits) return {};
  return fmt::format("\"{}\" is neither a mapping (5432, 15432:5432) nor a host (db.internal)",
                     word);
}

// Two mappings of one local place.
std::string twice(const std::vector<ProxyMapping>& mappings) {
  std::set<std::string> seen;
  for (const ProxyMapping& mapping : mappings) {
    if (!mapping.is_unix() && mapping.local_port == 0) continue;
    const std::string place =
        mapping.is_unix() ? mapping.local_path : "port " + std::to_string(mapping.local_port);
    if (!seen.insert(place).second) {
      return fmt::format("{} is mapped twice; give each mapping a local port of its own, e.g. 0:{}",
                         place, mapping.remote.port);
    }
  }
  return {};
}

}  // namespace

std::expected<std::vector<ProxyMapping>, std::string> parse_mappings(
    const std::vector<std::string>& words, std::string_view app) {
  std::vector<ProxyMapping> mappings;
  std::size_t without_host = 0;
  for (const std::string& word : words) {
    if (auto mapping = parse_mapping(word)) {
      if (!*mapping) return wrong(mapping->error());
      mappings.push_back(std::move(**mapping));
      continue;
    }
    const auto address = IpAddress::parse(word);
    if (!address) {
      if (std::string why = why_no_host(word); !why.empty()) return wrong(std::move(why));
    }
    if (without_host == mappings.size()) {
      return wrong(fmt::format("{0}: a host stands behind its ports, e.g. 5432 {0}", word));
    }
    const std::string host = address ? address->to_string() : word;
    while (without_host < mappings.size()) mappings[without_host++].remote.host = host;
  }
  if (mappings.empty()) return wrong("which port? e.g. rooster proxy 5432 -a db");
  if (mappings.size() > kMaxProxyMappings) {
    return wrong(fmt::format("at most {} mappings", kMaxProxyMappings));
  }
  if (without_host < mappings.size() && app.empty()) {
    return wrong(
        "which app? Say it with -a <app>, or name a host behind the port: rooster proxy 5432 "
        "db.internal");
  }
  while (without_host < mappings.size()) {
    mappings[without_host++].remote.host = std::string(app) + ".internal";
  }
  if (std::string why = twice(mappings); !why.empty()) return wrong(std::move(why));
  return mappings;
}

}  // namespace rooster::cli
