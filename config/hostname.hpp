// Host names as routing keys (docs/decisions: one spelling for each name). Pure, no allocation.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace rooster::config {

/// A host name's one spelling: lower case, no trailing dot, no port; an IPv6 literal canonical,
/// without brackets.
class HostKey {
 public:
  static constexpr std::size_t kMaxBytes = 253;  // RFC 1035 §2.3.4 without the root's dot
  std::string_view view() const { return {bytes_.data(), size_}; }
  bool is_address() const { return is_address_; }

 private:
  friend std::optional<HostKey> to_host_key(std::string_view host);
  std::array<char, kMaxBytes + 1> bytes_{};
  std::size_t size_ = 0;
  bool is_address_ = false;
};

/// The key of a Host header, an :authority or an SNI: "Example.COM.:8443" -> "example.com".
/// nullopt: not a host name (RFC 9110 §7.2, RFC 1123 §2.1; `_` is accepted), or a port outside 1 to
/// 65535.
std::optional<HostKey> to_host_key(std::string_view host);

/// The key of a configured name, "*.example.com" included; nullopt: not one, or it has a port.
std::optional<std::string> to_pattern_key(std::string_view pattern);

/// One part of a host name: 1 to 63 letters, digits, '-' and '_', no dash at an end.
bool is_label(std::string_view label);

}  // namespace rooster::config
