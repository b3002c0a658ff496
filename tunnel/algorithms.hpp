// Algorithms: OpenSSL's primitives as WireGuard uses them. Fetched once, because in OpenSSL 3.0 a
// fetch for each use costs more than the use.
#pragma once

#include "tunnel/secret.hpp"

#include <openssl/evp.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string_view>

namespace rooster::tunnel {

template <auto Free>
struct EvpDeleter {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, EvpDeleter<EVP_CIPHER_CTX_free>>;
using MacContext = std::unique_ptr<EVP_MAC_CTX, EvpDeleter<EVP_MAC_CTX_free>>;

using Digest = std::array<std::uint8_t, 32>;

struct KeyPair2 {
  Secret first, second;
};
struct KeyTriple {
  Secret first, second, third;
};

/// The bytes of a label.
inline Bytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

/// One thread at a time.
class Algorithms {
 public:
  /// Ends the process where OpenSSL lacks BLAKE2s, ChaCha20 or Poly1305: nothing can work then.
  Algorithms();

  /// BLAKE2s-256 over the parts (RFC 7693).
  Digest hash(std::initializer_list<Bytes> parts);
  /// BLAKE2s keyed, 16 bytes: mac1, mac2 and cookies (paper §5.4.4). `key` has 16 or 32 bytes.
  Tag16 mac(Bytes key, std::initializer_list<Bytes> parts);
  /// HMAC-BLAKE2s with a 64-byte block (RFC 2104).
  Secret hmac(Bytes key, std::initializer_list<Bytes> parts);
  /// HKDF of the paper §5.4: the first n outputs.
  Secret derive1(const Secret& key, Bytes input);
  KeyPair2 derive2(const Secret& key, Bytes input);
  KeyTriple derive3(const Secret& key, Bytes input);

  /// For Aead: ChaCha20 under `key`, and Poly1305 without one.
  CipherContext new_chacha20(const Secret& key) const;
  MacContext new_poly1305() const;

 private:
  std::unique_ptr<EVP_MD, EvpDeleter<EVP_MD_free>> blake2s_;
  std::unique_ptr<EVP_MAC, EvpDeleter<EVP_MAC_free>> blake2s_mac_;
  std::unique_ptr<EVP_MAC, EvpDeleter<EVP_MAC_free>> poly1305_;
  std::unique_ptr<EVP_CIPHER, EvpDeleter<EVP_CIPHER_free>> chacha20_;
  std::unique_ptr<EVP_MD_CTX, EvpDeleter<EVP_MD_CTX_free>> digest_;
  MacContext mac_;
};

}  // namespace rooster::tunnel
