// Longest prefix wins, one owner each; held against a list that is searched from end to end.
#include "tunnel/allowed_ips.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace rooster::tunnel {
namespace {

IpAddress ip(std::string_view text) {
  return IpAddress::parse(text).value();
}

Prefix prefix(std::string_view text) {
  return Prefix::parse(text).value();
}

TEST(AllowedIps, LongestPrefixWins) {
  AllowedIps routes;
  routes.assign(prefix("::/0"), {1});
  routes.assign(prefix("fdaa:0:33::/48"), {2});
  routes.assign(prefix("fdaa:0:33:a7b::/112"), {3});
  routes.assign(prefix("fdaa:0:33:a7b::5/128"), {4});
  EXPECT_EQ(routes.find(ip("2001:db8::1")), PeerId{1});
  EXPECT_EQ(routes.find(ip("fdaa:0:33::1")), PeerId{2});
  EXPECT_EQ(routes.find(ip("fdaa:0:33:a7b::6")), PeerId{3});
  EXPECT_EQ(routes.find(ip("fdaa:0:33:a7b::5")), PeerId{4});
  EXPECT_EQ(routes.find(ip("fdaa:0:34::")), PeerId{1});
}

TEST(AllowedIps, FamiliesAreApart) {
  AllowedIps routes;
  routes.assign(prefix("::/0"), {1});
  EXPECT_EQ(routes.find(ip("10.0.0.1")), std::nullopt);
  routes.assign(prefix("0.0.0.0/0"), {2});
  EXPECT_EQ(routes.find(ip("10.0.0.1")), PeerId{2});
  EXPECT_EQ(routes.find(ip("2001:db8::1")), PeerId{1});
  routes.remove(prefix("::/0"), {1});
  EXPECT_EQ(routes.find(ip("10.0.0.1")), PeerId{2});
  EXPECT_EQ(routes.find(ip("2001:db8::1")), std::nullopt);
}

TEST(AllowedIps, APrefixMovesToItsNewOwner) {
  AllowedIps routes;
  EXPECT_EQ(routes.assign(prefix("10.1.0.0/16"), {1}), std::nullopt);
  EXPECT_EQ(routes.assign(prefix("10.1.0.0/16"), {1}), std::nullopt);
  EXPECT_EQ(routes.assign(prefix("10.1.0.0/16"), {2}), PeerId{1});
  EXPECT_EQ(routes.find(ip("10.1.2.3")), PeerId{2});
  EXPECT_FALSE(routes.remove(prefix("10.1.0.0/16"), {1}));
  EXPECT_TRUE(routes.remove(prefix("10.1.0.0/16"), {2}));
  EXPECT_EQ(routes.find(ip("10.1.2.3")), std::nullopt);
  EXPECT_EQ(routes.size(), 0u);
}

TEST(Prefix, ReadsWhatWgQuickFilesHold) {
  EXPECT_EQ(Prefix::parse("10.2.3.4/8").value().to_string(), "10.0.0.0/8");
  EXPECT_EQ(Prefix::parse("fdaa:0:33:a7b::2/120").value().to_string(), "fdaa:0:33:a7b::/120");
  EXPECT_EQ(Prefix::parse("192.0.2.1").value().to_string(), "192.0.2.1/32");
  EXPECT_EQ(Prefix::parse("::/0").value().length, 0);
  for (const auto* bad : {"10.0.0.0/33", "::/129", "::/", "::/x", "/8", "", "10.0.0/8", "::/-1",
                          "10.0.0.0/8 ", "10.0.0.0/08x"}) {
    EXPECT_FALSE(Prefix::parse(bad)) << bad;
  }
}

// Few distinct bits, so that prefixes meet often.
Prefix random_prefix(std::mt19937_64& random) {
  if (random() % 3 == 0) {
    const auto address = static_cast<std::uint32_t>(random() & 0x0f0f00ff) | 0x0a000000U;
    return Prefix::of(IpAddress::v4(address), static_cast<std::uint8_t>(random() % 33));
  }
  std::array<std::uint8_t, 16> bytes{0xfd, 0xaa};
  for (std::size_t at = 2; at < 16; ++at) {
    bytes[at] = static_cast<std::uint8_t>(random() % 4 == 0 ? random() & 3 : 0);
  }
  return Prefix::of(IpAddress::from_bytes(bytes), static_cast<std::uint8_t>(random() % 129));
}

TEST(AllowedIps, AgreesWithASearchOfAllPrefixes) {
  std::mt19937_64 random(42);
  AllowedIps routes;
  std::map<Prefix, PeerId> all;
  for (int step = 0; step < 20'000; ++step) {
    const Prefix one = random_prefix(random);
    const PeerId peer{static_cast<std::uint32_t>(1 + random() % 9)};
    const auto known = all.find(one);
    if (random() % 5 < 2) {
      const bool is_owner = known != all.end() && known->second == peer;
      ASSERT_EQ(routes.remove(one, peer), is_owner);
      if (is_owner) all.erase(known);
    } else {
      const bool moves = known != all.end() && known->second != peer;
      const auto before = moves ? std::optional(known->second) : std::nullopt;
      ASSERT_EQ(routes.assign(one, peer), before);
      all[one] = peer;
    }
    ASSERT_EQ(routes.size(), all.size());
    const IpAddress address = random_prefix(random).address;
    std::optional<PeerId> best;
    int length = -1;
    for (const auto& [candidate, owner] : all) {
      if (candidate.length > length && candidate.contains(address)) {
        best = owner;
        length = candidate.length;
      }
    }
    ASSERT_EQ(routes.find(address), best) << address.to_string();
    while (all.size() > 200) {
      ASSERT_TRUE(routes.remove(all.begin()->first, all.begin()->second));
      all.erase(all.begin());
    }
  }
}

}  // namespace
}  // namespace rooster::tunnel
