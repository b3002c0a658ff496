#include "core/base64.hpp"

#include <algorithm>
#include <cstddef>

namespace rooster {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kUrlAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

std::string encode(std::span<const std::uint8_t> bytes, std::string_view alphabet, bool padded) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) group = group << 8U | (k < count ? bytes[i + k] : 0U);
    for (std::size_t k = 0; k < 4; ++k) {
      if (k <= count) {
        text += alphabet[group >> (18 - 6 * k) & 0x3fU];
      } else if (padded) {
        text += '=';
      }
    }
  }
  return text;
}

}  // namespace

std::string to_base64(std::span<const std::uint8_t> bytes) {
  return encode(bytes, kAlphabet, true);
}

std::string to_base64url(std::span<const std::uint8_t> bytes) {
  return encode(bytes, kUrlAlphabet, false);
}

std::optional<std::vector<std::uint8_t>> from_base64(std::string_view text) {
  std::vector<std::uint8_t> bytes;
  const std::string_view whole = text;
  while (text.ends_with('=') && whole.size() - text.size() < 2) text.remove_suffix(1);
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const char c : text) {
    const std::size_t value = kAlphabet.find(c);
    if (value == std::string_view::npos) return std::nullopt;
    bits = bits << 6U | static_cast<std::uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes.push_back(static_cast<std::uint8_t>(bits >> count & 0xffU));
  }
  // One spelling for each value: right padding, no bits to spare.
  if (to_base64(bytes) != whole) return std::nullopt;
  return bytes;
}

}  // namespace rooster
