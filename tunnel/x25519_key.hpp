// X25519Key: a private key ready for Diffie-Hellman (RFC 7748).
#pragma once

#include "tunnel/key.hpp"
#include "tunnel/secret.hpp"

#include <openssl/evp.h>

#include <memory>
#include <optional>

namespace rooster::tunnel {

class X25519Key {
 public:
  explicit X25519Key(const PrivateKey& key);
  static X25519Key generate(RandomSource& random);

  const PublicKey& public_key() const { return public_key_; }
  /// The shared secret; unset where it would be zero, which is what low-order points give
  /// (RFC 7748 §6.1).
  std::optional<Secret> agree(const PublicKey& other) const;

 private:
  struct Deleter {
    void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  };
  std::unique_ptr<EVP_PKEY, Deleter> key_;
  PublicKey public_key_;
};

}  // namespace rooster::tunnel
