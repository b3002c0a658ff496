#include "tunnel/key.hpp"

#include "tunnel/x25519_key.hpp"

#include <openssl/crypto.h>

#include <algorithm>

namespace rooster::tunnel {
namespace {

constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::size_t kBase64Digits = 43;  // of 32 bytes, then one '='

std::optional<std::uint8_t> hex_digit(char letter) {
  if (letter >= '0' && letter <= '9') return static_cast<std::uint8_t>(letter - '0');
  if (letter >= 'a' && letter <= 'f') return static_cast<std::uint8_t>(letter - 'a' + 10);
  if (letter >= 'A' && letter <= 'F') return static_cast<std::uint8_t>(letter - 'A' + 10);
  return std::nullopt;
}

}  // namespace

SecretKey::~SecretKey() {
  OPENSSL_cleanse(bytes_.data(), bytes_.size());
}

bool SecretKey::is_zero() const {
  static constexpr KeyBytes kZero{};
  return CRYPTO_memcmp(bytes_.data(), kZero.data(), kKeyBytes) == 0;
}

PrivateKey PrivateKey::generate(RandomSource& random) {
  KeyBytes bytes;
  random.fill(bytes);
  // Clamped (RFC 7748 §5), so that the text of the key is the same wherever it is shown.
  bytes[0] &= 248;
  bytes[31] = static_cast<std::uint8_t>((bytes[31] & 127) | 64);
  PrivateKey key(bytes);
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return key;
}

PublicKey PrivateKey::public_key() const {
  return X25519Key(*this).public_key();
}

std::optional<KeyBytes> key_from_base64(std::string_view text) {
  if (text.size() != kBase64Digits + 1 || text.back() != '=') return std::nullopt;
  KeyBytes key{};
  std::uint32_t bits = 0;
  int count = 0;
  std::size_t at = 0;
  for (const char letter : text.substr(0, kBase64Digits)) {
    const std::size_t digit = kBase64.find(letter);
    if (digit == std::string_view::npos) return std::nullopt;
    bits = (bits << 6 | static_cast<std::uint32_t>(digit)) & 0xffff;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    key[at++] = static_cast<std::uint8_t>(bits >> count);
  }
  // 43 digits hold 258 bits: the last two must be zero, or one key would have four texts.
  if ((bits & 3) != 0) return std::nullopt;
  return key;
}

std::string to_base64(const KeyBytes& key) {
  std::string text;
  std::uint32_t bits = 0;
  int count = 0;
  for (const std::uint8_t byte : key) {
    bits = (bits << 8 | byte) & 0xffff;
    count += 8;
    while (count >= 6) {
      count -= 6;
      text += kBase64[bits >> count & 63];
    }
  }
  text += kBase64[bits << (6 - count) & 63];
  return text + '=';
}

std::optional<KeyBytes> key_from_hex(std::string_view text) {
  if (text.size() != 2 * kKeyBytes) return std::nullopt;
  KeyBytes key;
  for (std::size_t at = 0; at < kKeyBytes; ++at) {
    const auto high = hex_digit(text[2 * at]);
    const auto low = hex_digit(text[2 * at + 1]);
    if (!high || !low) return std::nullopt;
    key[at] = static_cast<std::uint8_t>(*high << 4 | *low);
  }
  return key;
}

std::string to_hex(const KeyBytes& key) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : key) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

}  // namespace rooster::tunnel
