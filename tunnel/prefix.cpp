#include "tunnel/prefix.hpp"

#include <charconv>
#include <cstddef>

namespace rooster::tunnel {
namespace {

// In its 16-byte form a v4 address has 96 bits before it.
int bits_of(const Prefix& prefix) {
  return prefix.length + (prefix.address.is_v4() ? 96 : 0);
}

std::array<std::uint8_t, 16> masked(std::array<std::uint8_t, 16> bytes, int bits) {
  for (int at = 0; at < 16; ++at) {
    const int keep = bits - 8 * at;
    auto& byte = bytes[static_cast<std::size_t>(at)];
    if (keep <= 0) byte = 0;
    if (keep > 0 && keep < 8) byte = static_cast<std::uint8_t>(byte & (0xff00 >> keep));
  }
  return bytes;
}

}  // namespace

Prefix Prefix::of(const IpAddress& address, std::uint8_t length) {
  Prefix prefix{address, length};
  prefix.address = IpAddress::from_bytes(masked(address.bytes(), bits_of(prefix)));
  return prefix;
}

std::optional<Prefix> Prefix::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto address = IpAddress::parse(text.substr(0, slash));
  if (!address) return std::nullopt;
  const unsigned most = address->is_v4() ? 32 : 128;
  unsigned length = most;
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
    if (error != std::errc{} || end != digits.data() + digits.size() || length > most) {
      return std::nullopt;
    }
  }
  return of(*address, static_cast<std::uint8_t>(length));
}

bool Prefix::contains(const IpAddress& other) const {
  return address.is_v4() == other.is_v4() &&
         masked(other.bytes(), bits_of(*this)) == address.bytes();
}

std::string Prefix::to_string() const {
  return address.to_string() + '/' + std::to_string(length);
}

}  // namespace rooster::tunnel
