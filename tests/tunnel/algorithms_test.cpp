// BLAKE2s as hash, keyed hash and HMAC, and the key derivation, against known answers: RFC 7693
// appendix B and Python's hashlib and hmac.
#include "tunnel/algorithms.hpp"

#include "tests/tunnel/hex.hpp"

#include <gtest/gtest.h>

namespace rooster::tunnel {
namespace {

using testing::counting;
using testing::counting32;
using testing::hex;

TEST(Algorithms, HashIsBlake2s256) {
  Algorithms algorithms;
  EXPECT_EQ(hex(algorithms.hash({bytes_of("abc")})),
            "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
  EXPECT_EQ(hex(algorithms.hash({})),
            "69217a3079908094e11121d042354a7c1f55b6482ca1a51e1b250dfd1ed0eef9");
  EXPECT_EQ(algorithms.hash({bytes_of("a"), bytes_of(""), bytes_of("bc")}),
            algorithms.hash({bytes_of("abc")}));
}

TEST(Algorithms, MacIsKeyedBlake2sOf16Bytes) {
  Algorithms algorithms;
  EXPECT_EQ(hex(algorithms.mac(counting32(), {bytes_of("abc")})),
            "61ba5f165c194692e09d12520cc4c74a");
  // A key of another length right after, as a cookie is.
  EXPECT_EQ(hex(algorithms.mac(counting(16), {})), "af4e5d3bb230e9ff9096ca6f7c501f76");
  EXPECT_EQ(hex(algorithms.mac(counting(16), {counting(200)})), "b8d300fa7937e4d1e67c8468df4c9a43");
}

TEST(Algorithms, HmacIsThatOfRfc2104) {
  Algorithms algorithms;
  EXPECT_EQ(
      hex(algorithms
              .hmac(bytes_of("key"), {bytes_of("The quick brown fox jumps over the lazy dog")})
              .bytes),
      "f93215bb90d4af4c3061cd932fb169fb8bb8a91d0b4022baea1271e1323cd9a0");
  EXPECT_EQ(hex(algorithms.hmac(counting32(), {}).bytes),
            "e2641d24dfa8dd89e8cb77f1cdc77d8c006e5bebdfc4d6a3a3a6f8d5b7586fb0");
  EXPECT_EQ(hex(algorithms.hmac(counting(64), {counting(200)}).bytes),
            "690ee478866a3698f0ed2e87e8b25fcb63e56f6c2e6baa69acec75b6d645d1ae");
}

TEST(Algorithms, DerivationsShareTheirFirstKeys) {
  Algorithms algorithms;
  const Secret key(counting32());
  const KeyTriple three = algorithms.derive3(key, bytes_of("input"));
  EXPECT_EQ(hex(three.first.bytes),
            "87b7f70b24183c6db5dc4f6d9f4c47cdb203321aa2a0bef714896adb3107a040");
  EXPECT_EQ(hex(three.second.bytes),
            "538a02e1eb2e31b7e4d4b82476d1fe2acf50085d3fb584537279195f5d1f5824");
  EXPECT_EQ(hex(three.third.bytes),
            "9ad858025593be88de0f9442a589cfe84a88dc19e4753d93684d1c5efc4837f9");
  const KeyPair2 two = algorithms.derive2(key, bytes_of("input"));
  EXPECT_EQ(two.first.bytes, three.first.bytes);
  EXPECT_EQ(two.second.bytes, three.second.bytes);
  EXPECT_EQ(algorithms.derive1(key, bytes_of("input")).bytes, three.first.bytes);
}

}  // namespace
}  // namespace rooster::tunnel
