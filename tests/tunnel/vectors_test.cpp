// Every vector of the shared folder, valid and trap alike, through the primitives as the tunnel
// uses them.
#include "tests/tunnel/hex.hpp"
#include "tunnel/aead.hpp"
#include "tunnel/x25519_key.hpp"
#include "tunnel/xchacha.hpp"

#include <gtest/gtest.h>
#include <openssl/err.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace rooster::tunnel {
namespace {

using testing::array_from_hex;
using testing::from_hex;
using testing::hex;

/// One test of a file: its fields, and its flags in one line.
using Case = std::map<std::string, std::string>;

// The files have one field a line; a test begins with "tcId" and ends with "result".
std::vector<Case> cases_of(const std::string& name) {
  std::vector<Case> cases;
  std::ifstream file(std::filesystem::path(ROOSTER_SHARED_DIR) / "vectors" / name);
  Case current;
  bool is_inside = false;
  for (std::string line; std::getline(file, line);) {
    std::vector<std::string> texts;
    for (std::size_t at = line.find('"'); at != std::string::npos;) {
      const std::size_t end = line.find('"', at + 1);
      if (end == std::string::npos) break;
      texts.push_back(line.substr(at + 1, end - at - 1));
      at = line.find('"', end + 1);
    }
    if (texts.empty()) continue;
    if (texts[0] == "tcId") {
      current = {{"tcId", line}};
      is_inside = true;
    } else if (is_inside && texts.size() == 1 && line.find(':') == std::string::npos) {
      current["flags"] += texts[0] + " ";
    } else if (is_inside && texts.size() == 2) {
      current[texts[0]] = texts[1];
    }
    if (is_inside && texts[0] == "result") {
      cases.push_back(current);
      is_inside = false;
    }
  }
  return cases;
}

bool is_shared_there() {
  return std::filesystem::is_directory(std::filesystem::path(ROOSTER_SHARED_DIR) / "vectors");
}

TEST(Vectors, X25519AgreesAndRefusesLowOrderPoints) {
  if (!is_shared_there()) GTEST_SKIP() << "the folder of shared vectors is not there";
  const auto cases = cases_of("x25519.json");
  ASSERT_EQ(cases.size(), 518u);
  std::size_t refused = 0;
  for (const Case& one : cases) {
    SCOPED_TRACE(one.at("tcId"));
    const X25519Key key(PrivateKey(array_from_hex<32>(one.at("private"))));
    const auto shared = key.agree(PublicKey{array_from_hex<32>(one.at("public"))});
    const bool is_zero = one.at("flags").find("ZeroSharedSecret") != std::string::npos;
    ASSERT_EQ(shared.has_value(), !is_zero);
    if (shared) EXPECT_EQ(hex(shared->bytes), one.at("shared"));
    if (!shared) ++refused;
    EXPECT_EQ(ERR_peek_error(), 0u);
  }
  EXPECT_EQ(refused, 31u);
}

// Both ways, in place and not; a wrong tag is refused. Nonces of other lengths can't be said.
template <class Seal, class Open>
void run_aead(const std::vector<Case>& cases, std::size_t nonce_bytes, Seal seal, Open open) {
  std::size_t done = 0;
  for (const Case& one : cases) {
    SCOPED_TRACE(one.at("tcId"));
    const auto nonce = from_hex(one.at("iv"));
    if (nonce.size() != nonce_bytes) {
      EXPECT_EQ(one.at("result"), "invalid");
      continue;
    }
    ++done;
    const Secret key(array_from_hex<32>(one.at("key")));
    const auto associated = from_hex(one.at("aad"));
    const auto plain = from_hex(one.at("msg"));
    const auto sealed = from_hex(one.at("ct") + one.at("tag"));
    std::vector<std::uint8_t> opened(plain.size() + 1);
    const bool is_valid = one.at("result") == "valid";
    ASSERT_EQ(open(key, nonce, associated, sealed, opened.data()), is_valid);
    EXPECT_EQ(ERR_peek_error(), 0u);
    std::vector<std::uint8_t> made(plain.size() + 16);
    seal(key, nonce, associated, plain, made.data());
    EXPECT_EQ(made == sealed, is_valid);
    if (!is_valid) continue;
    opened.resize(plain.size());
    EXPECT_EQ(opened, plain);
    auto in_place = sealed;
    ASSERT_TRUE(open(key, nonce, associated, in_place, in_place.data()));
    in_place.resize(plain.size());
    EXPECT_EQ(in_place, plain);
  }
  EXPECT_GT(done, 300u);
}

template <std::size_t N>
std::array<std::uint8_t, N> fixed(const std::vector<std::uint8_t>& bytes) {
  std::array<std::uint8_t, N> out;
  std::ranges::copy(bytes, out.begin());
  return out;
}

TEST(Vectors, ChaCha20Poly1305SealsAndOpens) {
  if (!is_shared_there()) GTEST_SKIP() << "the folder of shared vectors is not there";
  Algorithms algorithms;
  const auto cases = cases_of("chacha20_poly1305.json");
  ASSERT_EQ(cases.size(), 325u);
  run_aead(
      cases, 12,
      [&](const Secret& key, const auto& nonce, Bytes associated, Bytes plain, std::uint8_t* out) {
        Aead(algorithms, key).seal(fixed<12>(nonce), associated, plain, 0, out);
      },
      [&](const Secret& key, const auto& nonce, Bytes associated, Bytes sealed, std::uint8_t* out) {
        return Aead(algorithms, key).open(fixed<12>(nonce), associated, sealed, out);
      });
}

TEST(Vectors, XChaCha20Poly1305SealsAndOpensThroughHChaCha20) {
  if (!is_shared_there()) GTEST_SKIP() << "the folder of shared vectors is not there";
  Algorithms algorithms;
  const auto cases = cases_of("xchacha20_poly1305.json");
  ASSERT_EQ(cases.size(), 315u);
  run_aead(
      cases, 24,
      [&](const Secret& key, const auto& nonce, Bytes associated, Bytes plain, std::uint8_t* out) {
        xchacha_seal(algorithms, key, fixed<24>(nonce), associated, plain, out);
      },
      [&](const Secret& key, const auto& nonce, Bytes associated, Bytes sealed, std::uint8_t* out) {
        return xchacha_open(algorithms, key, fixed<24>(nonce), associated, sealed, out);
      });
}

// draft-irtf-cfrg-xchacha §2.2.1.
TEST(HChaCha20, GivesTheDraftsSubkey) {
  const Secret key(testing::counting32());
  const auto nonce = array_from_hex<16>("000000090000004a0000000031415927");
  EXPECT_EQ(hex(hchacha20(key, nonce).bytes),
            "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc");
}

TEST(Aead, PaddingIsZerosBehindThePacket) {
  Algorithms algorithms;
  const Secret key(testing::counting32());
  for (std::size_t size = 0; size <= 200; ++size) {
    const auto plain = testing::counting(size, 1);
    const std::size_t padding = (16 - size % 16) % 16;
    std::vector<std::uint8_t> sealed(size + padding + 16);
    Aead(algorithms, key).seal(nonce_of(size), {}, plain, padding, sealed.data());
    Aead opening(algorithms, key);
    ASSERT_TRUE(opening.open(nonce_of(size), {}, sealed, sealed.data()));
    sealed.resize(size + padding);
    auto expected = plain;
    expected.resize(size + padding);
    EXPECT_EQ(sealed, expected);
  }
}

TEST(Aead, AnyChangedBitIsRefused) {
  Algorithms algorithms;
  const Secret key(testing::counting32());
  Aead sealing(algorithms, key);
  Aead opening(algorithms, key);
  std::vector<std::uint8_t> sealed(48);
  sealing.seal(nonce_of(7), {}, testing::counting(32), 0, sealed.data());
  for (std::size_t bit = 0; bit < 8 * sealed.size(); ++bit) {
    auto damaged = sealed;
    damaged[bit / 8] = static_cast<std::uint8_t>(damaged[bit / 8] ^ 1 << (bit % 8));
    EXPECT_FALSE(opening.open(nonce_of(7), {}, damaged, damaged.data()));
  }
  EXPECT_FALSE(opening.open(nonce_of(8), {}, sealed, std::vector(sealed).data()));
  EXPECT_FALSE(opening.open(nonce_of(7), {}, Bytes(sealed).first(15), sealed.data()));
  EXPECT_TRUE(opening.open(nonce_of(7), {}, sealed, sealed.data()));
}

}  // namespace
}  // namespace rooster::tunnel
