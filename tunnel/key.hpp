// The 32-byte keys of WireGuard as types of their own, and their base64 and hexadecimal texts.
#pragma once

#include "tunnel/random_source.hpp"

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rooster::tunnel {

inline constexpr std::size_t kKeyBytes = 32;
using KeyBytes = std::array<std::uint8_t, kKeyBytes>;

struct PublicKey {
  KeyBytes bytes{};
  friend auto operator<=>(const PublicKey&, const PublicKey&) = default;
};

/// Overwritten when it goes.
class SecretKey {
 public:
  SecretKey() = default;
  explicit SecretKey(const KeyBytes& bytes) : bytes_(bytes) {}
  SecretKey(const SecretKey&) = default;
  SecretKey& operator=(const SecretKey&) = default;
  ~SecretKey();

  const KeyBytes& bytes() const { return bytes_; }
  bool is_zero() const;

 private:
  KeyBytes bytes_{};
};

/// A static private key.
struct PrivateKey : SecretKey {
  using SecretKey::SecretKey;
  static PrivateKey generate(RandomSource& random);
  PublicKey public_key() const;
};

/// The symmetric key of a pair of peers; zero where there is none.
struct PresharedKey : SecretKey {
  using SecretKey::SecretKey;
};

/// 44 characters of base64, as in wg-quick files; nothing else is accepted.
std::optional<KeyBytes> key_from_base64(std::string_view text);
std::string to_base64(const KeyBytes& key);
/// 64 hexadecimal digits, as in UAPI.
std::optional<KeyBytes> key_from_hex(std::string_view text);
std::string to_hex(const KeyBytes& key);

}  // namespace rooster::tunnel
