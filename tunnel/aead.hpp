// Aead: ChaCha20-Poly1305 under one key in one direction (RFC 8439), with WireGuard's nonces.
#pragma once

#include "tunnel/algorithms.hpp"

#include <openssl/evp.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>

namespace rooster::tunnel {

using Nonce = std::array<std::uint8_t, 12>;

/// Four zero bytes and the counter, little endian (paper §5.4.6).
Nonce nonce_of(std::uint64_t counter);

/// Whichever way it is used first, it must be used that way ever after.
class Aead {
 public:
  enum class Way : std::uint8_t { Seal, Open };

  Aead(const Algorithms& algorithms, const Secret& key, Way way);

  /// Encrypts `plain` and `padding` zeros behind it to `out`, which holds their bytes and the tag.
  /// `out` may be where `plain` is.
  void seal(const Nonce& nonce, Bytes associated, Bytes plain, std::size_t padding,
            std::uint8_t* out);
  /// Decrypts to `out` (may be where `sealed` is) all but the tag. False: not authentic, and what
  /// is in `out` is to be forgotten.
  [[nodiscard]] bool open(const Nonce& nonce, Bytes associated, Bytes sealed, std::uint8_t* out);

 private:
  struct Deleter {
    void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
  };
  std::unique_ptr<EVP_CIPHER_CTX, Deleter> context_;
};

}  // namespace rooster::tunnel
