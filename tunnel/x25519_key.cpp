#include "tunnel/x25519_key.hpp"

#include <openssl/err.h>

#include <cstdlib>

namespace rooster::tunnel {

X25519Key::X25519Key(const PrivateKey& key)
    : key_(EVP_PKEY_new_raw_private_key_ex(nullptr, "X25519", nullptr, key.bytes().data(),
                                           kKeyBytes)) {
  std::size_t size = kKeyBytes;
  if (!key_ || EVP_PKEY_get_raw_public_key(key_.get(), public_key_.bytes.data(), &size) != 1) {
    std::abort();  // every 32 bytes are a key: only memory can be missing
  }
}

X25519Key X25519Key::generate(RandomSource& random) {
  return X25519Key(PrivateKey::generate(random));
}

std::optional<Secret> X25519Key::agree(const PublicKey& other) const {
  struct ContextDeleter {
    void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
  };
  const std::unique_ptr<EVP_PKEY, Deleter> theirs(
      EVP_PKEY_new_raw_public_key_ex(nullptr, "X25519", nullptr, other.bytes.data(), kKeyBytes));
  const std::unique_ptr<EVP_PKEY_CTX, ContextDeleter> context(
      EVP_PKEY_CTX_new_from_pkey(nullptr, key_.get(), nullptr));
  Secret shared;
  std::size_t size = shared.bytes.size();
  if (theirs && context && EVP_PKEY_derive_init(context.get()) == 1 &&
      EVP_PKEY_derive_set_peer_ex(context.get(), theirs.get(), 0) == 1 &&
      EVP_PKEY_derive(context.get(), shared.bytes.data(), &size) == 1) {
    return shared;
  }
  ERR_clear_error();  // or the next TLS call on this thread would take it for its own
  return std::nullopt;
}

}  // namespace rooster::tunnel
