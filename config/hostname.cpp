#include "config/hostname.hpp"

#include <algorithm>
#include <cstring>

#include <arpa/inet.h>

namespace rooster::config {
namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool is_port(std::string_view text) {
  if (text.empty() || text.size() > 5) return false;
  unsigned number = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    number = number * 10 + static_cast<unsigned>(c - '0');
  }
  return number >= 1 && number <= 65535;
}

/// The host without ":port", brackets kept; nullopt: what follows the host isn't a port.
std::optional<std::string_view> without_port(std::string_view host) {
  if (host.starts_with('[')) {
    const auto end = host.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    const auto rest = host.substr(end + 1);
    if (!rest.empty() && !(rest.starts_with(':') && is_port(rest.substr(1)))) return std::nullopt;
    return host.substr(0, end + 1);
  }
  const auto colon = host.find(':');
  if (colon == std::string_view::npos) return host;
  if (!is_port(host.substr(colon + 1))) return std::nullopt;
  return host.substr(0, colon);
}

bool has_only_labels(std::string_view name) {
  while (true) {
    const auto dot = name.find('.');
    if (!is_label(name.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    name.remove_prefix(dot + 1);
  }
}

/// Digits and dots alone: then it must be a whole IPv4 address ("1.2.3" and "010.0.0.1" are read
/// differently by different programs).
bool looks_like_ipv4(std::string_view name) {
  const auto last = name.substr(name.rfind('.') + 1);
  return !last.empty() && std::ranges::all_of(last, [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

bool is_label(std::string_view label) {
  if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-')
    return false;
  return std::ranges::all_of(label, [](char c) {
    const char l = lower(c);
    return (l >= 'a' && l <= 'z') || (l >= '0' && l <= '9') || l == '-' || l == '_';
  });
}

std::optional<HostKey> to_host_key(std::string_view host) {
  const auto bare = without_port(host);
  if (!bare) return std::nullopt;
  std::string_view name = *bare;
  HostKey key;
  if (name.starts_with('[')) {
    name = name.substr(1, name.size() - 2);
    if (name.size() >= INET6_ADDRSTRLEN) return std::nullopt;
    std::memcpy(key.bytes_.data(), name.data(),
                name.size());  // zero-terminated: bytes_ began as zeros
    in6_addr address{};
    if (inet_pton(AF_INET6, key.bytes_.data(), &address) != 1) return std::nullopt;
    inet_ntop(AF_INET6, &address, key.bytes_.data(), INET6_ADDRSTRLEN);
    key.size_ = std::strlen(key.bytes_.data());
    key.is_address_ = true;
    return key;
  }
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.empty() || name.size() > HostKey::kMaxBytes || !has_only_labels(name))
    return std::nullopt;
  std::ranges::transform(name, key.bytes_.begin(), lower);
  key.size_ = name.size();
  if (looks_like_ipv4(name)) {
    in_addr address{};
    if (inet_pton(AF_INET, key.bytes_.data(), &address) != 1) return std::nullopt;
    key.is_address_ = true;
  }
  return key;
}

std::optional<std::string> to_pattern_key(std::string_view pattern) {
  // An address with colons is written without brackets as often as with.
  if (!pattern.starts_with('[') && std::ranges::count(pattern, ':') >= 2) {
    const auto key = to_host_key("[" + std::string(pattern) + "]");
    return key ? std::optional(std::string(key->view())) : std::nullopt;
  }
  const bool any = pattern.starts_with("*.");
  if (any) pattern.remove_prefix(2);
  if (pattern.find(':') != std::string_view::npos && !pattern.ends_with(']')) return std::nullopt;
  const auto key = to_host_key(pattern);
  if (!key || (any && key->is_address())) return std::nullopt;
  return (any ? "*." : "") + std::string(key->view());
}

}  // namespace rooster::config
