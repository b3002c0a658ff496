#include "tunnel/aead.hpp"

#include "tunnel/little_endian.hpp"

#include <algorithm>
#include <cassert>
#include <cstdlib>

namespace rooster::tunnel {
namespace {

constexpr std::size_t kTag = 16;
constexpr std::size_t kBlock = 64;  // ChaCha20's

constexpr std::array<std::uint8_t, kBlock> kZeros{};

void require(bool holds) {
  if (!holds) std::abort();
}

std::size_t padding_to_16(std::size_t size) {
  return (16 - size % 16) % 16;
}

}  // namespace

Nonce nonce_of(std::uint64_t counter) {
  Nonce nonce{};
  store64(&nonce[4], counter);
  return nonce;
}

Aead::Aead(const Algorithms& algorithms, const Secret& key)
    : cipher_(algorithms.new_chacha20(key)), mac_(algorithms.new_poly1305()) {}

// RFC 8439 §2.6, §2.8: the first block of the key stream keys Poly1305, the rest is for the text.
void Aead::begin(const Nonce& nonce) {
  std::array<std::uint8_t, 16> counter_and_nonce{};
  std::ranges::copy(nonce, counter_and_nonce.begin() + 4);
  require(EVP_EncryptInit_ex2(cipher_.get(), nullptr, nullptr, counter_and_nonce.data(), nullptr) ==
          1);
  std::array<std::uint8_t, kBlock> first;
  crypt(kZeros, first.data());
  require(EVP_MAC_init(mac_.get(), first.data(), 32, nullptr) == 1);
  OPENSSL_cleanse(first.data(), first.size());
}

void Aead::crypt(Bytes in, std::uint8_t* out) {
  int done = 0;
  require(EVP_EncryptUpdate(cipher_.get(), out, &done, in.data(), static_cast<int>(in.size())) ==
          1);
}

// RFC 8439 §2.8: associated data and text, each padded to 16, and both lengths.
Tag16 Aead::tag_of(Bytes associated, Bytes sealed) {
  EVP_MAC_CTX* const mac = mac_.get();
  if (!associated.empty()) {
    require(EVP_MAC_update(mac, associated.data(), associated.size()) == 1);
    require(EVP_MAC_update(mac, kZeros.data(), padding_to_16(associated.size())) == 1);
  }
  require(EVP_MAC_update(mac, sealed.data(), sealed.size()) == 1);
  std::array<std::uint8_t, 32> end{};
  const std::size_t padding = padding_to_16(sealed.size());
  store64(&end[padding], associated.size());
  store64(&end[padding + 8], sealed.size());
  require(EVP_MAC_update(mac, end.data(), padding + 16) == 1);
  Tag16 tag;
  std::size_t size = 0;
  require(EVP_MAC_final(mac, tag.data(), &size, tag.size()) == 1 && size == kTag);
  return tag;
}

void Aead::seal(const Nonce& nonce, Bytes associated, Bytes plain, std::size_t padding,
                std::uint8_t* out) {
  assert(padding < kZeros.size());
  begin(nonce);
  if (!plain.empty()) crypt(plain, out);
  if (padding != 0) crypt(Bytes(kZeros).first(padding), out + plain.size());
  const std::size_t size = plain.size() + padding;
  std::ranges::copy(tag_of(associated, Bytes(out, size)), out + size);
}

bool Aead::open(const Nonce& nonce, Bytes associated, Bytes sealed, std::uint8_t* out) {
  if (sealed.size() < kTag) return false;
  const Bytes text = sealed.first(sealed.size() - kTag);
  begin(nonce);
  if (!is_same(tag_of(associated, text), sealed.last(kTag))) return false;
  if (!text.empty()) crypt(text, out);
  return true;
}

}  // namespace rooster::tunnel
