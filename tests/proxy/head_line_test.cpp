#include "proxy/head_line.hpp"

#include "proxy/head_writer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace rooster::proxy {
namespace {

bool is_control(int byte) {
  return (byte < 0x20 && byte != '\t') || byte == 0x7F;
}

TEST(HeadLine, FindsTheFirstControlByteWhereverItStands) {
  for (std::size_t length = 0; length <= 40; ++length) {
    for (std::size_t place = 0; place < length; ++place) {
      for (int byte = 0; byte < 256; ++byte) {
        std::string text(length, 'v');
        text[place] = static_cast<char>(byte);
        const char* end = text.data() + length;
        const char* expected = is_control(byte) ? text.data() + place : end;
        ASSERT_EQ(find_control(text.data(), end), expected)
            << length << " " << place << " " << byte;
        ASSERT_EQ(is_field_text(text), !is_control(byte)) << length << " " << place << " " << byte;
      }
    }
  }
}

TEST(HeadLine, SeesTwoBadBytesToo) {
  for (const std::string text :
       {"\x1F\x20\x1F\x20\x1F", "\t\t\n\t\t\t", "a\tb\tc\td\r", "\xFF\xFF\xFF\x7F"})
    EXPECT_FALSE(is_field_text(text));
  EXPECT_TRUE(is_field_text("\t\t\t\t\t\t\t\t\t"));
  EXPECT_TRUE(is_field_text("\x80\xA0\xFF\x9F\x8D\x8A"));
}

TEST(HeadLine, ReadsLengthsAsDigitsOnly) {
  std::uint64_t length = 0;
  EXPECT_TRUE(read_length("9223372036854775807", length));
  EXPECT_EQ(length, 9223372036854775807U);
  for (const char* bad :
       {"", "9223372036854775808", "00000000000000000001", "1 ", "+1", "1,1", "0x1"})
    EXPECT_FALSE(read_length(bad, length)) << bad;
}

TEST(HeadLine, WalksLists) {
  TokenList list(" ,a , b,,c\t,");
  EXPECT_EQ(list.next(), "a");
  EXPECT_EQ(list.next(), "b");
  EXPECT_EQ(list.next(), "c");
  EXPECT_EQ(list.next(), "");
}

TEST(HeadWriter, CopiesTextsOfAnyLength) {
  std::string source(100, ' ');
  for (std::size_t i = 0; i < source.size(); ++i) source[i] = static_cast<char>('!' + i % 90);
  for (std::size_t length = 0; length <= source.size(); ++length) {
    const std::string text = source.substr(0, length);  // its own block: a sanitizer sees overreads
    std::vector<char> out(length);
    HeadWriter writer(out.data(), out.size());
    writer.text(text);
    EXPECT_TRUE(std::ranges::equal(out, text)) << length;
    EXPECT_EQ(writer.size(), length);
    writer.text("x");
    EXPECT_EQ(writer.size(), 0U) << "overflow stays";
  }
}

}  // namespace
}  // namespace rooster::proxy
