// Secret: 32 bytes of intermediate key material, overwritten when they go.
#pragma once

#include <openssl/crypto.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace rooster::tunnel {

struct Secret {
  std::array<std::uint8_t, 32> bytes{};

  Secret() = default;
  explicit Secret(const std::array<std::uint8_t, 32>& from) : bytes(from) {}
  Secret(const Secret&) = default;
  Secret& operator=(const Secret&) = default;
  ~Secret() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
};

using Bytes = std::span<const std::uint8_t>;
using Tag16 = std::array<std::uint8_t, 16>;

/// Compares in constant time.
inline bool is_same(Bytes left, Bytes right) {
  return left.size() == right.size() && CRYPTO_memcmp(left.data(), right.data(), left.size()) == 0;
}

}  // namespace rooster::tunnel
