#include "tunnel/algorithms.hpp"

#include <openssl/core_names.h>
#include <openssl/params.h>

#include <algorithm>
#include <cassert>
#include <cstdlib>

namespace rooster::tunnel {
namespace {

constexpr std::size_t kBlock = 64;  // BLAKE2s's block, which HMAC pads its key to

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

Algorithms::Algorithms()
    : blake2s_(EVP_MD_fetch(nullptr, "BLAKE2S-256", nullptr)),
      blake2s_mac_(EVP_MAC_fetch(nullptr, "BLAKE2SMAC", nullptr)),
      poly1305_(EVP_MAC_fetch(nullptr, "POLY1305", nullptr)),
      chacha20_(EVP_CIPHER_fetch(nullptr, "ChaCha20", nullptr)),
      digest_(EVP_MD_CTX_new()) {
  require(blake2s_ && blake2s_mac_ && poly1305_ && chacha20_ && digest_);
  mac_.reset(EVP_MAC_CTX_new(blake2s_mac_.get()));
  require(mac_ != nullptr);
}

Digest Algorithms::hash(std::initializer_list<Bytes> parts) {
  Digest digest;
  require(EVP_DigestInit_ex2(digest_.get(), blake2s_.get(), nullptr) == 1);
  for (const Bytes part : parts) {
    require(EVP_DigestUpdate(digest_.get(), part.data(), part.size()) == 1);
  }
  require(EVP_DigestFinal_ex(digest_.get(), digest.data(), nullptr) == 1);
  return digest;
}

Tag16 Algorithms::mac(Bytes key, std::initializer_list<Bytes> parts) {
  Tag16 tag;
  std::size_t size = tag.size();
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size),
                               OSSL_PARAM_construct_end()};
  require(EVP_MAC_init(mac_.get(), key.data(), key.size(), params) == 1);
  for (const Bytes part : parts) {
    require(EVP_MAC_update(mac_.get(), part.data(), part.size()) == 1);
  }
  require(EVP_MAC_final(mac_.get(), tag.data(), &size, tag.size()) == 1);
  return tag;
}

Secret Algorithms::hmac(Bytes key, std::initializer_list<Bytes> parts) {
  assert(key.size() <= kBlock);
  std::array<std::uint8_t, kBlock> pad{};
  std::ranges::copy(key, pad.begin());
  for (auto& byte : pad) byte ^= 0x36;
  require(EVP_DigestInit_ex2(digest_.get(), blake2s_.get(), nullptr) == 1);
  require(EVP_DigestUpdate(digest_.get(), pad.data(), pad.size()) == 1);
  for (const Bytes part : parts) {
    require(EVP_DigestUpdate(digest_.get(), part.data(), part.size()) == 1);
  }
  Secret inner;
  require(EVP_DigestFinal_ex(digest_.get(), inner.bytes.data(), nullptr) == 1);
  for (auto& byte : pad) byte ^= 0x36 ^ 0x5c;
  Secret outer;
  outer.bytes = hash({pad, inner.bytes});
  OPENSSL_cleanse(pad.data(), pad.size());
  return outer;
}

Secret Algorithms::derive1(const Secret& key, Bytes input) {
  const std::uint8_t one = 1;
  const Secret root = hmac(key.bytes, {input});
  return hmac(root.bytes, {Bytes(&one, 1)});
}

KeyPair2 Algorithms::derive2(const Secret& key, Bytes input) {
  const std::uint8_t one = 1, two = 2;
  const Secret root = hmac(key.bytes, {input});
  const Secret first = hmac(root.bytes, {Bytes(&one, 1)});
  return {first, hmac(root.bytes, {first.bytes, Bytes(&two, 1)})};
}

KeyTriple Algorithms::derive3(const Secret& key, Bytes input) {
  const std::uint8_t one = 1, two = 2, three = 3;
  const Secret root = hmac(key.bytes, {input});
  const Secret first = hmac(root.bytes, {Bytes(&one, 1)});
  const Secret second = hmac(root.bytes, {first.bytes, Bytes(&two, 1)});
  return {first, second, hmac(root.bytes, {second.bytes, Bytes(&three, 1)})};
}

CipherContext Algorithms::new_chacha20(const Secret& key) const {
  CipherContext context(EVP_CIPHER_CTX_new());
  require(context != nullptr && EVP_EncryptInit_ex2(context.get(), chacha20_.get(),
                                                    key.bytes.data(), nullptr, nullptr) == 1);
  return context;
}

MacContext Algorithms::new_poly1305() const {
  MacContext context(EVP_MAC_CTX_new(poly1305_.get()));
  require(context != nullptr);
  return context;
}

}  // namespace rooster::tunnel
