#include "proxy/host_name.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace rooster::proxy {
namespace {

TEST(HostName, SplitsNameAndPort) {
  const auto name_of = [](std::string_view host) {
    const auto split = split_host(host);
    return split ? std::string(split->name) + "|" + std::to_string(split->port) : "refused";
  };
  EXPECT_EQ(name_of("Hello.app.dev"), "Hello.app.dev|0");
  EXPECT_EQ(name_of("hello.app.dev.:443"), "hello.app.dev|443");
  EXPECT_EQ(name_of("a_b.c-d"), "a_b.c-d|0");
  EXPECT_EQ(name_of("xn--bcher-kva.example"), "xn--bcher-kva.example|0");
  EXPECT_EQ(name_of("127.0.0.1:8080"), "127.0.0.1|8080");
  EXPECT_EQ(name_of("[::1]"), "[::1]|0");
  EXPECT_EQ(name_of("[2001:db8::1]:65535"), "[2001:db8::1]|65535");
  for (const char* bad :
       {"",         ".",      "..",     "a..b",      ".a",  "a:0",          "a:65536", "a:99999",
        "a:000080", "a:",     "a:1:2",  "a b",       "a/b", "a@b",          "a,b",     "[::1",
        "[]",       "[::1]x", "[::1].", "[1.2.3.4]", "::1", "b\xC3\xBC.de", "a%2e"})
    EXPECT_EQ(name_of(bad), "refused") << bad;
  EXPECT_EQ(name_of(std::string(63, 'a')), std::string(63, 'a') + "|0");
  EXPECT_EQ(name_of(std::string(64, 'a')), "refused");
  std::string longest;
  while (longest.size() < 252) longest += "ab.";
  EXPECT_NE(name_of(longest + "c"), "refused");
  EXPECT_EQ(name_of(longest + "cd"), "refused");
}

TEST(HostName, KeyIsLowerCase) {
  std::array<char, 255> out;
  EXPECT_EQ(lower_host("Hello.APP.dev", out), "hello.app.dev");
}

}  // namespace
}  // namespace rooster::proxy
