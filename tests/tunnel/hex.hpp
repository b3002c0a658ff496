// Bytes as the vectors write them.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::tunnel::testing {

inline std::vector<std::uint8_t> from_hex(std::string_view text) {
  std::vector<std::uint8_t> bytes;
  for (std::size_t at = 0; at + 1 < text.size(); at += 2) {
    bytes.push_back(
        static_cast<std::uint8_t>(std::stoul(std::string(text.substr(at, 2)), nullptr, 16)));
  }
  return bytes;
}

inline std::string hex(std::span<const std::uint8_t> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

template <std::size_t N>
std::array<std::uint8_t, N> array_from_hex(std::string_view text) {
  const auto bytes = from_hex(text);
  if (bytes.size() != N) throw std::invalid_argument("not that many bytes");
  std::array<std::uint8_t, N> out;
  std::ranges::copy(bytes, out.begin());
  return out;
}

/// `count` bytes that count up from `first`.
inline std::vector<std::uint8_t> counting(std::size_t count, std::uint8_t first = 0) {
  std::vector<std::uint8_t> bytes(count);
  for (auto& byte : bytes) byte = first++;
  return bytes;
}

inline std::array<std::uint8_t, 32> counting32(std::uint8_t first = 0) {
  std::array<std::uint8_t, 32> bytes;
  for (auto& byte : bytes) byte = first++;
  return bytes;
}

}  // namespace rooster::tunnel::testing
