#include "core/json_text.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <optional>

namespace rooster {
namespace {

std::string json_of(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

TEST(JsonText, EscapesWhatWouldEndAStringOrALine) {
  EXPECT_EQ(json_of("a\"b\\c\nd\re\tf"), R"("a\"b\\c\nd\re\tf")");
  EXPECT_EQ(json_of(std::string_view("\0\x1b[31m\x7f", 7)), R"("\u0000\u001b[31m\u007f")");
}

TEST(JsonText, KeepsUtf8AndReplacesWhatIsNot) {
  EXPECT_EQ(json_of("olá €  😀"), "\"olá €  😀\"");
  EXPECT_EQ(json_of("\xff"), "\"\xEF\xBF\xBD\"");
  EXPECT_EQ(json_of("\xc0\xaf"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\"") << "overlong";
  EXPECT_EQ(json_of("\xed\xa0\x80"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"") << "surrogate";
  EXPECT_EQ(json_of("\xe2\x82"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\"") << "cut short";
  EXPECT_EQ(json_of("\xf4\x90\x80\x80").size(), 2U + 4 * 3) << "beyond U+10FFFF";
}

TEST(JsonText, ReplacesUnicodeLineEndsAndControls) {
  EXPECT_EQ(json_of("\xE2\x80\xA8"), "\"\xEF\xBF\xBD\"");
  EXPECT_EQ(json_of("\xC2\x85"), "\"\xEF\xBF\xBD\"");
}

TEST(JsonText, EscapesHtml) {
  std::string out;
  append_html_escaped(out, "<a href='x'>\"&");
  EXPECT_EQ(out, "&lt;a href=&#39;x&#39;&gt;&quot;&amp;");
}

TEST(JsonWriter, PutsCommasWhereTheyBelong) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().field("a", 1).field("b", "x").key("c").begin_array();
  json.value(true).value(-5).null().begin_object().end_object().end_array();
  json.field("none", std::optional<int>{}).field("some", std::optional<int>{7}).end_object();
  EXPECT_EQ(out, R"({"a":1,"b":"x","c":[true,-5,null,{}],"some":7})");
}

TEST(JsonWriter, WritesTheEndsOfTheNumberRange) {
  std::string out;
  JsonWriter json(out);
  json.begin_array().value(std::numeric_limits<std::int64_t>::min());
  json.value(std::numeric_limits<std::uint64_t>::max()).value(1.5);
  json.value(std::numeric_limits<double>::infinity()).end_array();
  EXPECT_EQ(out, "[-9223372036854775808,18446744073709551615,1.5,null]");
}

}  // namespace
}  // namespace rooster
