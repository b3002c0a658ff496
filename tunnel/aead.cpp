#include "tunnel/aead.hpp"

#include <cassert>
#include <cstdlib>
#include <cstring>

namespace rooster::tunnel {
namespace {

constexpr std::size_t kTag = 16;

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

Nonce nonce_of(std::uint64_t counter) {
  Nonce nonce{};
  for (std::size_t byte = 0; byte < 8; ++byte) {
    nonce[4 + byte] = static_cast<std::uint8_t>(counter >> (8 * byte));
  }
  return nonce;
}

Aead::Aead(const Algorithms& algorithms, const Secret& key, Way way)
    : context_(EVP_CIPHER_CTX_new()) {
  require(context_ != nullptr);
  require(EVP_CipherInit_ex2(context_.get(), algorithms.chacha20_poly1305(), key.bytes.data(),
                             nullptr, way == Way::Seal ? 1 : 0, nullptr) == 1);
}

void Aead::seal(const Nonce& nonce, Bytes associated, Bytes plain, std::size_t padding,
                std::uint8_t* out) {
  static constexpr std::array<std::uint8_t, 16> kZeros{};
  assert(padding < kZeros.size());
  EVP_CIPHER_CTX* const context = context_.get();
  int done = 0;
  require(EVP_EncryptInit_ex2(context, nullptr, nullptr, nonce.data(), nullptr) == 1);
  if (!associated.empty()) {
    require(EVP_EncryptUpdate(context, nullptr, &done, associated.data(),
                              static_cast<int>(associated.size())) == 1);
  }
  if (!plain.empty()) {
    require(EVP_EncryptUpdate(context, out, &done, plain.data(), static_cast<int>(plain.size())) ==
            1);
  }
  if (padding != 0) {
    require(EVP_EncryptUpdate(context, out + plain.size(), &done, kZeros.data(),
                              static_cast<int>(padding)) == 1);
  }
  std::uint8_t* const tag = out + plain.size() + padding;
  require(EVP_EncryptFinal_ex(context, tag, &done) == 1);
  require(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kTag, tag) == 1);
}

bool Aead::open(const Nonce& nonce, Bytes associated, Bytes sealed, std::uint8_t* out) {
  if (sealed.size() < kTag) return false;
  EVP_CIPHER_CTX* const context = context_.get();
  const std::size_t size = sealed.size() - kTag;
  int done = 0;
  // The tag goes in before the text (OpenSSL 3.0 wants it so), from a copy: the call takes no
  // const.
  Tag16 tag;
  std::memcpy(tag.data(), sealed.data() + size, kTag);
  require(EVP_DecryptInit_ex2(context, nullptr, nullptr, nonce.data(), nullptr) == 1);
  require(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kTag, tag.data()) == 1);
  if (!associated.empty()) {
    require(EVP_DecryptUpdate(context, nullptr, &done, associated.data(),
                              static_cast<int>(associated.size())) == 1);
  }
  if (size != 0 &&
      EVP_DecryptUpdate(context, out, &done, sealed.data(), static_cast<int>(size)) != 1) {
    return false;
  }
  std::uint8_t nothing = 0;
  return EVP_DecryptFinal_ex(context, &nothing, &done) == 1;
}

}  // namespace rooster::tunnel
