#include "proxy/client_address.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace rooster::proxy {
namespace {

CidrList list(const std::vector<std::string>& ranges) {
  auto compiled = CidrList::compile(ranges);
  EXPECT_TRUE(compiled.has_value());
  return compiled ? *compiled : CidrList();
}

IpAddress ip(std::string_view text) {
  const auto address = IpAddress::parse(text);
  EXPECT_TRUE(address.has_value()) << text;
  return address.value_or(IpAddress());
}

TEST(CidrList, ContainsItsRanges) {
  const CidrList ranges = list({"10.0.0.0/8", "192.0.2.129/25", "2001:db8::/33", "::1", "1.2.3.4"});
  for (const char* inside :
       {"10.255.0.1", "192.0.2.200", "2001:db8:7fff::1", "::1", "1.2.3.4", "::ffff:10.0.0.1"})
    EXPECT_TRUE(ranges.contains(ip(inside))) << inside;
  for (const char* outside :
       {"11.0.0.1", "192.0.2.127", "2001:db8:8000::1", "::2", "1.2.3.5", "::"})
    EXPECT_FALSE(ranges.contains(ip(outside))) << outside;
  EXPECT_TRUE(list({"0.0.0.0/0"}).contains(ip("8.8.8.8")));
  EXPECT_FALSE(list({"0.0.0.0/0"}).contains(ip("2001::1")));
  EXPECT_TRUE(list({"::/0"}).contains(ip("8.8.8.8")));
}

TEST(CidrList, NamesTheEntryThatIsNone) {
  for (const std::string bad :
       {"", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/8x", "ten", "10.0.0.0/-1"}) {
    const auto compiled = CidrList::compile(std::vector<std::string>{bad});
    ASSERT_FALSE(compiled.has_value()) << bad;
    EXPECT_EQ(compiled.error().detail, bad);
  }
}

std::string client_of(std::string_view peer, std::string_view fields) {
  RequestHead head;
  const std::string bytes = "GET / HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n";
  EXPECT_EQ(parse_request_head(bytes, head).status, ParseStatus::Complete);
  return client_address(ip(peer), head, list({"10.0.0.0/8", "fd00::/8"})).to_string();
}

TEST(ClientAddress, IsThePeerUnlessThePeerIsTrusted) {
  EXPECT_EQ(client_of("192.0.2.1", "X-Forwarded-For: 6.6.6.6\r\n"), "192.0.2.1");
  EXPECT_EQ(client_of("10.0.0.1", ""), "10.0.0.1");
  EXPECT_EQ(client_of("10.0.0.1", "X-Forwarded-For: 198.51.100.7\r\n"), "198.51.100.7");
}

TEST(ClientAddress, WalksFromTheRightToTheFirstUntrusted) {
  EXPECT_EQ(client_of("10.0.0.1", "X-Forwarded-For: 6.6.6.6, 198.51.100.7 ,10.0.0.2\r\n"),
            "198.51.100.7");
  EXPECT_EQ(client_of("10.0.0.1",
                      "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: "
                      "198.51.100.7\r\nX-Forwarded-For: 10.0.0.2\r\n"),
            "198.51.100.7");
  EXPECT_EQ(client_of("fd00::1", "X-Forwarded-For: 2001:db8::5, [fd00::2]:443, 10.0.0.3:80\r\n"),
            "2001:db8::5");
  EXPECT_EQ(client_of("10.0.0.1", "X-Forwarded-For: 10.0.0.9, 10.0.0.8\r\n"), "10.0.0.9");
}

TEST(ClientAddress, StopsAtWhatIsNoAddress) {
  EXPECT_EQ(client_of("10.0.0.1", "X-Forwarded-For: 6.6.6.6, unknown, 10.0.0.2\r\n"), "10.0.0.2");
  EXPECT_EQ(client_of("10.0.0.1", "X-Forwarded-For: [::1\r\n"), "10.0.0.1");
  EXPECT_EQ(client_of("10.0.0.1", "X-Forwarded-For: , ,\r\n"), "10.0.0.1");
}

}  // namespace
}  // namespace rooster::proxy
