#include "machines/wake_policy.hpp"

#include <gtest/gtest.h>

namespace rooster::machines {
namespace {

IpAddress ip(std::string_view text) {
  return *IpAddress::parse(text);
}

TEST(Glob, MatchesWholeTexts) {
  struct Row {
    std::string_view glob, text;
    bool matches;
  };
  for (const Row& row :
       {Row{"/api/*", "/api/v1/x", true}, Row{"/api/*", "/api", false}, Row{"*", "", true},
        Row{"", "", true}, Row{"", "a", false}, Row{"*bot*", "Googlebot/2.1", true},
        Row{"a?c", "abc", true}, Row{"a*b*c", "aXbYbZc", true}, Row{"a*b*c", "aXbYbZ", false},
        Row{"**", "x", true}, Row{"/x", "/X", false}}) {
    EXPECT_EQ(matches_glob(row.glob, row.text), row.matches) << row.glob << " " << row.text;
  }
  EXPECT_TRUE(matches_glob("*BOT*", "a bot", true));
}

TEST(Glob, ManyStarsStayCheap) {
  const std::string text(5000, 'a');
  EXPECT_FALSE(matches_glob("*a*a*a*a*a*a*a*a*a*a*b", text));
}

TEST(Range, HoldsItsAddressesOnly) {
  EXPECT_TRUE(in_range(ip("10.1.2.3"), "10.0.0.0/8"));
  EXPECT_FALSE(in_range(ip("11.1.2.3"), "10.0.0.0/8"));
  EXPECT_TRUE(in_range(ip("192.0.2.129"), "192.0.2.128/25"));
  EXPECT_FALSE(in_range(ip("192.0.2.127"), "192.0.2.128/25"));
  EXPECT_TRUE(in_range(ip("192.0.2.1"), "192.0.2.1"));
  EXPECT_TRUE(in_range(ip("1.2.3.4"), "0.0.0.0/0"));
  EXPECT_FALSE(in_range(ip("2001:db8::1"), "0.0.0.0/0"));
  EXPECT_TRUE(in_range(ip("2001:db8:1::1"), "2001:db8::/32"));
  EXPECT_FALSE(in_range(ip("10.0.0.1"), "10.0.0.0/33"));
  EXPECT_FALSE(in_range(ip("10.0.0.1"), "nonsense"));
}

TEST(WakePolicy, EmptyPolicyLetsEverythingWakeButAHello) {
  config::WakePolicy policy;
  EXPECT_TRUE(may_wake(policy, {.source = ip("1.2.3.4"), .method = "GET", .path = "/"}));
  EXPECT_TRUE(may_wake(policy, {.source = ip("1.2.3.4")}));
  EXPECT_FALSE(may_wake(policy, {.source = ip("1.2.3.4"), .only_sni = true}));
}

TEST(WakePolicy, RulesRefuseAndSayWhy) {
  config::WakePolicy policy;
  policy.deny_paths = {"/wp-*", "/.git/*"};
  policy.allow_methods = {"GET", "POST"};
  policy.deny_user_agents = {"*bot*"};
  policy.deny_ranges = {"203.0.113.0/24"};
  struct Row {
    WakeAttempt attempt;
    bool may;
  };
  for (const Row& row :
       {Row{{.source = ip("1.1.1.1"), .method = "GET", .path = "/", .user_agent = "curl"}, true},
        Row{{.source = ip("1.1.1.1"), .method = "GET", .path = "/wp-login.php"}, false},
        Row{{.source = ip("1.1.1.1"), .method = "HEAD", .path = "/"}, false},
        Row{{.source = ip("1.1.1.1"), .method = "GET", .path = "/", .user_agent = "GoogleBot/2"},
            false},
        Row{{.source = ip("203.0.113.9"), .method = "GET", .path = "/"}, false},
        Row{{.source = ip("203.0.113.9")}, false}}) {
    std::string why;
    EXPECT_EQ(may_wake(policy, row.attempt, &why), row.may) << row.attempt.path;
    EXPECT_EQ(why.empty(), row.may) << why;
  }
}

TEST(WakePolicy, AllowListsAdmitOnlyTheirOwn) {
  config::WakePolicy policy;
  policy.allow_paths = {"/app/*"};
  policy.allow_ranges = {"10.0.0.0/8"};
  EXPECT_TRUE(may_wake(policy, {.source = ip("10.0.0.1"), .method = "GET", .path = "/app/x"}));
  EXPECT_FALSE(may_wake(policy, {.source = ip("10.0.0.1"), .method = "GET", .path = "/x"}));
  EXPECT_FALSE(may_wake(policy, {.source = ip("11.0.0.1"), .method = "GET", .path = "/app/x"}));
}

}  // namespace
}  // namespace rooster::machines
