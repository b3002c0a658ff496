// The texts of keys.
#include "tunnel/key.hpp"

#include "tests/tunnel/pair.hpp"

namespace rooster::tunnel {
namespace {

// The example key of wg-quick's documentation.
constexpr std::string_view kPrivate = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";

TEST(Key, ReadsAndWritesBase64) {
  const auto key = key_from_base64(kPrivate);
  ASSERT_TRUE(key);
  EXPECT_EQ(to_base64(*key), kPrivate);
  EXPECT_EQ(to_hex(*key), "c809f3e5317e9575c9b5ed78b638b7ce530dabe85ddab614220241801ddf0669");
  EXPECT_EQ(key_from_hex(to_hex(*key)), key);
}

TEST(Key, EveryKeyReadsBackFromItsTexts) {
  testing::SeededRandom random(2);
  for (int times = 0; times < 200; ++times) {
    KeyBytes key;
    random.fill(key);
    ASSERT_EQ(key_from_base64(to_base64(key)), key);
    ASSERT_EQ(key_from_hex(to_hex(key)), key);
  }
}

TEST(Key, RefusesOtherTexts) {
  const std::string good(kPrivate);
  for (const std::string& bad :
       {std::string(), good.substr(1), good + "=", good.substr(0, 43) + "A",
        good.substr(0, 42) + "l=", "-" + good.substr(1),
        good.substr(0, 20) + "\n" + good.substr(21)}) {
    EXPECT_FALSE(key_from_base64(bad)) << bad;
  }
  const std::string digits(64, 'a');
  for (const std::string& bad : {digits.substr(1), digits + "a", "g" + digits.substr(1)}) {
    EXPECT_FALSE(key_from_hex(bad)) << bad;
  }
}

TEST(Key, PublicKeyIsThatOfWgAndOfTheRfc) {
  EXPECT_EQ(to_base64(PrivateKey(key_from_base64(kPrivate).value()).public_key().bytes),
            "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=");
  // RFC 7748 §6.1.
  const PrivateKey bob(
      key_from_hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb").value());
  EXPECT_EQ(to_hex(bob.public_key().bytes),
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
}

TEST(SystemRandom, DoesNotRepeat) {
  SystemRandom random;
  EXPECT_NE(PrivateKey::generate(random).bytes(), PrivateKey::generate(random).bytes());
}

}  // namespace
}  // namespace rooster::tunnel
