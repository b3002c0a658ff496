// Durations, ranges, spelling, commands and secrets in texts.
#include "config/scalars.hpp"

#include "config/hostname.hpp"
#include "config/show.hpp"
#include "config/split_command.hpp"

#include <gtest/gtest.h>

#include <array>

namespace rooster::config {
namespace {

using namespace std::chrono_literals;
using Words = std::vector<std::string>;

TEST(Duration, ReadsWhatGoWrites) {
  for (const auto& [text, expected] :
       std::vector<std::pair<std::string_view, std::chrono::milliseconds>>{
           {"0", 0ms},
           {"300ms", 300ms},
           {"5s", 5s},
           {"3m0s", 3min},
           {"1h30m", 90min},
           {"1.5s", 1500ms},
           {"+2s", 2s},
           {"1h2m3s4ms", 3'723'004ms},
           {"1500us", 2ms},
           {"1500µs", 2ms},
           {".5s", 500ms}}) {
    EXPECT_EQ(parse_duration(text), expected) << text;
  }
}

TEST(Duration, RefusesEverythingElse) {
  for (const auto* text : {"", "5", "s", "-5s", "5 s", "5d", "5sec", "1.2.3s", "1e9h",
                           "99999999999999999999h", "5s ", "NaNs", "infs", "+", "."}) {
    EXPECT_EQ(parse_duration(text), std::nullopt) << text;
  }
}

TEST(Duration, WritesTheShortestText) {
  for (const auto& text : {"0s", "300ms", "5s", "1h30m", "1m1s5ms"}) {
    EXPECT_EQ(to_text(*parse_duration(text)), text);
  }
}

TEST(Range, IsAnAddressWithOrWithoutAPrefix) {
  for (const auto* text : {"10.0.0.1", "10.0.0.0/8", "0.0.0.0/0", "::1", "fe80::/10", "::/128"}) {
    EXPECT_TRUE(is_range(text)) << text;
  }
  for (const auto* text : {"", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0/8",
                           "::/129", "localhost", "10.0.0.0/8/8", "10.0.0.0/ 8"}) {
    EXPECT_FALSE(is_range(text)) << text;
  }
}

TEST(Spelling, FindsTheWordThatWasMeant) {
  constexpr std::array<std::string_view, 3> kWords{"internal_port", "force_https", "processes"};
  EXPECT_EQ(nearest("interal_port", kWords), "internal_port");
  EXPECT_EQ(nearest("force_htpps", kWords), "force_https");
  EXPECT_EQ(nearest("proccesses", kWords), "processes");
  EXPECT_EQ(nearest("banana", kWords), "");
  EXPECT_EQ(edit_distance("ab", "ba"), 1U);
  EXPECT_EQ(edit_distance("", "abc"), 3U);
}

TEST(SplitCommand, SplitsAsAShellWould) {
  for (const auto& [line, words] : std::vector<std::pair<std::string_view, Words>>{
           {"", {}},
           {"  a  b\tc\n", {"a", "b", "c"}},
           {"sh -c 'a b; \"c\"'", {"sh", "-c", "a b; \"c\""}},
           {R"(a"b c"d)", {"ab cd"}},
           {R"("a\"b" "a\b" "$x" "\$x")", {"a\"b", "a\\b", "$x", "$x"}},
           {R"(a\ b '' "")", {"a b", "", ""}},
           {"a\\\nb", {"ab"}},
           {"--x=\"1 2\"", {"--x=1 2"}},
           {"# not a comment", {"#", "not", "a", "comment"}}}) {
    EXPECT_EQ(split_command(line).value_or(Words{"?"}), words) << line;
  }
  for (const auto* broken : {"'a", "\"a", "a\\", "\"a\\\"", "a 'b\""}) {
    EXPECT_FALSE(split_command(broken)) << broken;
  }
}

TEST(SplitCommand, JoiningIsItsInverse) {
  for (const auto& words :
       {Words{}, Words{"a"}, Words{"", "a b", "it's", "\"q\"", "\\", "\n", "é"}}) {
    EXPECT_EQ(split_command(join_command(words)), words);
  }
}

TEST(PatternKey, AcceptsNamesWildcardsAndAddresses) {
  EXPECT_EQ(to_pattern_key("Example.COM."), "example.com");
  EXPECT_EQ(to_pattern_key("*.Example.com"), "*.example.com");
  EXPECT_EQ(to_pattern_key("10.0.0.5"), "10.0.0.5");
  EXPECT_EQ(to_pattern_key("[2001:DB8:0::1]"), "2001:db8::1");
  EXPECT_EQ(to_pattern_key("2001:db8::1"), "2001:db8::1");
  for (const auto* text : {"", "*", "*.", "**.a", "a.*.b", "*a.b", "a:80", "*.10.0.0.5", "[::1]:80",
                           "bücher.example"}) {
    EXPECT_EQ(to_pattern_key(text), std::nullopt) << text;
  }
}

TEST(Show, HidesWhatLooksLikeASecret) {
  EXPECT_EQ(without_secrets("SECRET_KEY_BASE", "abc"), "***");
  EXPECT_EQ(without_secrets("github_token", "abc"), "***");
  EXPECT_EQ(without_secrets("WEBUI_SECRET_KEY", ""), "");
  EXPECT_EQ(without_secrets("DATABASE_URL", "postgres://me:pass@db:5432/x?a=b@c"),
            "postgres://me:***@db:5432/x?a=b@c");
  EXPECT_EQ(without_secrets("URL", "https://x.com/a:b@c"), "https://x.com/a:b@c");
  EXPECT_EQ(without_secrets("PORT", "8080"), "8080");
}

TEST(Show, TomlAndJsonQuoteWhatNeedsIt) {
  const auto document = parse_document(
      "'a b' = \"x\\n\\u0001\\\"\"\nlist = [1, true]\n[t]\n'k.k' = 'é'\n[[u]]\nv = 1\n");
  ASSERT_TRUE(document);
  EXPECT_EQ(
      to_toml(*document),
      "\"a b\" = \"x\\n\\u0001\\\"\"\nlist = [1, true]\n\n[t]\n\"k.k\" = \"é\"\n\n[[u]]\nv = 1\n");
  EXPECT_EQ(to_json(*document),
            "{\n  \"a b\": \"x\\n\\u0001\\\"\",\n  \"list\": [\n    1,\n    true\n  ],\n  \"t\": "
            "{\n    \"k.k\": \"é\"\n  },\n"
            "  \"u\": [\n    {\n      \"v\": 1\n    }\n  ]\n}\n");
}

}  // namespace
}  // namespace rooster::config
