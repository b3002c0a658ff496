// Aead: ChaCha20-Poly1305 under one key in one direction (RFC 8439), with WireGuard's nonces.
#pragma once

#include "tunnel/algorithms.hpp"

#include <array>
#include <cstdint>

namespace rooster::tunnel {

using Nonce = std::array<std::uint8_t, 12>;

/// Four zero bytes and the counter, little endian (paper §5.4.6).
Nonce nonce_of(std::uint64_t counter);

/// Made of EVP's ChaCha20 and Poly1305: EVP's own composition of the two costs a third more for
/// each packet, and decrypts before it knows whether it should.
class Aead {
 public:
  Aead(const Algorithms& algorithms, const Secret& key);

  /// Encrypts `plain` and `padding` zeros behind it to `out`, which holds their bytes and the tag.
  /// `out` may be where `plain` is.
  void seal(const Nonce& nonce, Bytes associated, Bytes plain, std::size_t padding,
            std::uint8_t* out);
  /// Decrypts to `out` (may be where `sealed` is) all but the tag. False: not authentic, and
  /// nothing was written.
  [[nodiscard]] bool open(const Nonce& nonce, Bytes associated, Bytes sealed, std::uint8_t* out);

 private:
  void begin(const Nonce& nonce);
  void crypt(Bytes in, std::uint8_t* out);
  Tag16 tag_of(Bytes associated, Bytes sealed);

  CipherContext cipher_;
  MacContext mac_;
};

}  // namespace rooster::tunnel
