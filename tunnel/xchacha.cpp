#include "tunnel/xchacha.hpp"

#include "tunnel/little_endian.hpp"

#include <algorithm>
#include <bit>

namespace rooster::tunnel {
namespace {

using State = std::array<std::uint32_t, 16>;

// RFC 8439 §2.1.
void quarter_round(State& x, std::size_t a, std::size_t b, std::size_t c, std::size_t d) {
  x[a] += x[b];
  x[d] = std::rotl(x[d] ^ x[a], 16);
  x[c] += x[d];
  x[b] = std::rotl(x[b] ^ x[c], 12);
  x[a] += x[b];
  x[d] = std::rotl(x[d] ^ x[a], 8);
  x[c] += x[d];
  x[b] = std::rotl(x[b] ^ x[c], 7);
}

void double_round(State& x) {
  for (std::size_t column = 0; column < 4; ++column) {
    quarter_round(x, column, 4 + column, 8 + column, 12 + column);
  }
  for (std::size_t diagonal = 0; diagonal < 4; ++diagonal) {
    quarter_round(x, diagonal, 4 + (diagonal + 1) % 4, 8 + (diagonal + 2) % 4,
                  12 + (diagonal + 3) % 4);
  }
}

// Bytes 16 to 23 of the long nonce behind four zeros are the short one.
Nonce short_nonce(const ExtendedNonce& nonce) {
  Nonce rest{};
  std::copy(nonce.begin() + 16, nonce.end(), rest.begin() + 4);
  return rest;
}

std::span<const std::uint8_t, 16> first16(const ExtendedNonce& nonce) {
  return std::span(nonce).first<16>();
}

}  // namespace

Secret hchacha20(const Secret& key, std::span<const std::uint8_t, 16> nonce) {
  State x{0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};  // "expand 32-byte k"
  for (std::size_t word = 0; word < 8; ++word) x[4 + word] = load32(&key.bytes[4 * word]);
  for (std::size_t word = 0; word < 4; ++word) x[12 + word] = load32(&nonce[4 * word]);
  for (int round = 0; round < 10; ++round) double_round(x);
  Secret subkey;
  for (std::size_t word = 0; word < 4; ++word) {
    store32(&subkey.bytes[4 * word], x[word]);
    store32(&subkey.bytes[16 + 4 * word], x[12 + word]);
  }
  OPENSSL_cleanse(x.data(), sizeof x);
  return subkey;
}

void xchacha_seal(const Algorithms& algorithms, const Secret& key, const ExtendedNonce& nonce,
                  Bytes associated, Bytes plain, std::uint8_t* out) {
  Aead aead(algorithms, hchacha20(key, first16(nonce)));
  aead.seal(short_nonce(nonce), associated, plain, 0, out);
}

bool xchacha_open(const Algorithms& algorithms, const Secret& key, const ExtendedNonce& nonce,
                  Bytes associated, Bytes sealed, std::uint8_t* out) {
  Aead aead(algorithms, hchacha20(key, first16(nonce)));
  return aead.open(short_nonce(nonce), associated, sealed, out);
}

}  // namespace rooster::tunnel
