#include "core/base64.hpp"

#include <gtest/gtest.h>

namespace rooster {
namespace {

std::vector<std::uint8_t> bytes_of(std::string_view text) {
  return {text.begin(), text.end()};
}

// RFC 4648 §10.
TEST(Base64, IsTheStandards) {
  for (const auto& [plain, coded] : {std::pair{"", ""},
                                     {"f", "Zg=="},
                                     {"fo", "Zm8="},
                                     {"foo", "Zm9v"},
                                     {"foob", "Zm9vYg=="},
                                     {"fooba", "Zm9vYmE="},
                                     {"foobar", "Zm9vYmFy"}}) {
    EXPECT_EQ(to_base64(bytes_of(plain)), coded);
    EXPECT_EQ(from_base64(coded), bytes_of(plain)) << coded;
  }
  const std::vector<std::uint8_t> high{0xfb, 0xff, 0xfe};
  EXPECT_EQ(to_base64(high), "+//+");
  EXPECT_EQ(to_base64url(high), "-__-");
  EXPECT_EQ(to_base64url(bytes_of("f")), "Zg");
}

TEST(Base64, AcceptsOneSpellingOnly) {
  for (const char* wrong : {"Zg=", "Zg", "Zh==", "Zm9=", "Zm9v====", "Z m9v", "Zm9v\n", "====", "=",
                            "-__-", "Zg==Zg=="}) {
    EXPECT_FALSE(from_base64(wrong)) << wrong;
  }
}

}  // namespace
}  // namespace rooster
