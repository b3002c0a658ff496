#include "proxy/egress_session.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>

#include <ifaddrs.h>
#include <sys/socket.h>

namespace rooster::proxy {
namespace {

bool may(std::string_view text, const CidrList& denied = {}) {
  return may_leave(IpAddress::parse(text).value(), denied);
}

TEST(MayLeave, AllowsTheOutside) {
  EXPECT_TRUE(may("198.51.100.7"));
  EXPECT_TRUE(may("2001:db8::7"));
}

TEST(MayLeave, DeniesWhatIsNotOutside) {
  for (const char* text :
       {"127.0.0.1", "127.8.9.10", "0.0.0.0", "169.254.169.254", "224.0.0.1", "255.255.255.255",
        "::", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "fe80::1", "ff02::1", "fdaa:0:33::3",
        "fdaa::3", "64:ff9b::7f00:1", "2002:7f00:1::", "fd00:ec2::254"}) {
    EXPECT_FALSE(may(text)) << text;
  }
}

TEST(MayLeave, DeniesTheNodesOwnAddresses) {
  ifaddrs* all = nullptr;
  ASSERT_EQ(::getifaddrs(&all), 0);
  for (const ifaddrs* one = all; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr) continue;
    const int family = one->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    sockaddr_storage address{};
    std::memcpy(&address, one->ifa_addr,
                family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    const IpAddress own = Endpoint::from(address).address;
    EXPECT_FALSE(may_leave(own, {})) << own.to_string();
  }
  ::freeifaddrs(all);
}

TEST(MayLeave, DeniesWhatTheOperatorSays) {
  const std::array<std::string, 1> ranges{"198.51.100.0/24"};
  const CidrList denied = CidrList::compile(ranges).value();
  EXPECT_FALSE(may("198.51.100.7", denied));
  EXPECT_TRUE(may("203.0.113.7", denied));
}

}  // namespace
}  // namespace rooster::proxy
