#include "proxy/host_name.hpp"

#include <algorithm>
#include <array>

#include <arpa/inet.h>

namespace rooster::proxy {
namespace {

constexpr std::size_t kMaxLabel = 63;
constexpr std::size_t kMaxName = 253;

constexpr std::array<bool, 256> kLabelBytes = [] {
  std::array<bool, 256> table{};
  for (unsigned char c = 'a'; c <= 'z'; ++c) table[c] = true;
  for (unsigned char c = 'A'; c <= 'Z'; ++c) table[c] = true;
  for (unsigned char c = '0'; c <= '9'; ++c) table[c] = true;
  table['-'] = table['_'] = true;
  return table;
}();

bool are_labels(std::string_view name) {
  if (name.empty() || name.size() > kMaxName) return false;
  std::size_t label = 0;
  for (const char c : name) {
    if (c == '.') {
      if (label == 0) return false;
      label = 0;
    } else if (!kLabelBytes[static_cast<unsigned char>(c)] || ++label > kMaxLabel) {
      return false;
    }
  }
  return label != 0;
}

bool is_v6_literal(std::string_view text) {
  std::array<char, INET6_ADDRSTRLEN> copy{};
  if (text.size() >= copy.size()) return false;
  std::ranges::copy(text, copy.begin());
  in6_addr address{};
  return inet_pton(AF_INET6, copy.data(), &address) == 1;
}

bool read_port(std::string_view digits, std::uint16_t& port) {
  if (digits.empty() || digits.size() > 5) return false;
  std::uint32_t number = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return false;
    number = number * 10 + static_cast<std::uint32_t>(c - '0');
  }
  if (number == 0 || number > 65535) return false;
  port = static_cast<std::uint16_t>(number);
  return true;
}

}  // namespace

std::optional<HostName> split_host(std::string_view host) {
  HostName result;
  const std::size_t close = host.starts_with('[') ? host.find(']') : std::string_view::npos;
  const std::size_t colon =
      close == std::string_view::npos ? host.find(':') : host.find(':', close);
  if (colon != std::string_view::npos) {
    if (!read_port(host.substr(colon + 1), result.port)) return std::nullopt;
    host = host.substr(0, colon);
  }
  if (close != std::string_view::npos) {
    if (close + 1 != host.size() || !is_v6_literal(host.substr(1, close - 1))) return std::nullopt;
    result.name = host;
    return result;
  }
  if (host.ends_with('.')) host.remove_suffix(1);
  if (!are_labels(host)) return std::nullopt;
  result.name = host;
  return result;
}

std::string_view lower_host(std::string_view name, std::span<char> out) {
  name = name.substr(0, out.size());
  std::ranges::transform(name, out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  });
  return {out.data(), name.size()};
}

}  // namespace rooster::proxy
