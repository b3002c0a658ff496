#include "cluster/token_text.hpp"

#include "core/base64.hpp"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>

namespace rooster::cluster {
namespace {

constexpr std::size_t kIdBytes = 10;
constexpr std::size_t kSecretBytes = 32;
constexpr std::size_t kSecretText = 43;  // in base 64 without padding

Key hash_of(std::string_view secret) {
  Key hash{};
  SHA256(reinterpret_cast<const unsigned char*>(secret.data()), secret.size(), hash.data());
  return hash;
}

}  // namespace

std::string random_word(const Random& random, std::size_t bytes) {
  // 32 of them, so that each is as likely; without those that look alike.
  constexpr std::string_view kLetters = "abcdefghijkmnpqrstuvwxyz23456789";
  std::string word(bytes, ' ');
  for (char& c : word) {
    std::array<std::uint8_t, 1> byte{};
    random(byte);
    c = kLetters[byte[0] % kLetters.size()];
  }
  return word;
}

TokenText make_token_text(const Random& random) {
  TokenText token;
  token.id = random_word(random, kIdBytes);
  std::array<std::uint8_t, kSecretBytes> secret{};
  random(secret);
  const std::string text = to_base64url(secret);
  OPENSSL_cleanse(secret.data(), secret.size());
  token.secret_hash = hash_of(text);
  token.text = token.id + '-' + text;
  return token;
}

std::optional<TokenText> parse_token_text(std::string_view text) {
  if (text.size() != kIdBytes + 1 + kSecretText || text[kIdBytes] != '-') return std::nullopt;
  const std::string_view id = text.substr(0, kIdBytes);
  const bool is_id = std::ranges::all_of(
      id, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); });
  if (!is_id) return std::nullopt;
  return TokenText{.text = std::string(text),
                   .id = std::string(id),
                   .secret_hash = hash_of(text.substr(kIdBytes + 1))};
}

bool is_same_secret(const Key& a, const Key& b) {
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace rooster::cluster
