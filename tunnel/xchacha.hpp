// XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha): only cookie replies need it, and OpenSSL 3.0 has
// none. HChaCha20 is ours, the rest is Aead.
#pragma once

#include "tunnel/aead.hpp"

#include <array>
#include <cstdint>
#include <span>

namespace rooster::tunnel {

using ExtendedNonce = std::array<std::uint8_t, 24>;

/// draft-irtf-cfrg-xchacha §2.2.
Secret hchacha20(const Secret& key, std::span<const std::uint8_t, 16> nonce);

/// `out` holds plain.size() + 16 bytes.
void xchacha_seal(const Algorithms& algorithms, const Secret& key, const ExtendedNonce& nonce,
                  Bytes associated, Bytes plain, std::uint8_t* out);
/// `out` holds sealed.size() - 16 bytes.
[[nodiscard]] bool xchacha_open(const Algorithms& algorithms, const Secret& key,
                                const ExtendedNonce& nonce, Bytes associated, Bytes sealed,
                                std::uint8_t* out);

}  // namespace rooster::tunnel
