#include "dns/directory.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace rooster::dns {
namespace {

constexpr NetworkId kNet{7};

IpAddress ip(const std::string& text) {
  return *IpAddress::parse(text);
}

AppRecord app(const std::string& name, const std::string& flycast, const std::string& machine) {
  AppRecord record{.name = name, .flycast = ip(flycast)};
  record.machines.push_back({.id = "m-" + name, .region = "gru", .address = ip(machine)});
  return record;
}

TEST(Directory, FindsAppsWhateverTheirCaseInTheirNetworkOnly) {
  Directory directory;
  directory.put_app(kNet, app("Db", "fdaa::1:1", "fdaa::1:2"));
  ASSERT_NE(directory.zone(kNet).app("dB"), nullptr);
  EXPECT_EQ(directory.zone(kNet).app("DB")->name, "Db");
  EXPECT_EQ(directory.zone(NetworkId{8}).app("db"), nullptr);
}

TEST(Directory, AReplacedAppLeavesNoAddressBehind) {
  Directory directory;
  directory.put_app(kNet, app("db", "fdaa::1:1", "fdaa::1:2"));
  directory.put_app(kNet, app("DB", "fdaa::1:1", "fdaa::1:3"));
  const Zone& zone = directory.zone(kNet);
  EXPECT_EQ(zone.apps().size(), 1u);
  EXPECT_EQ(zone.owner(ip("fdaa::1:2")), nullptr);
  ASSERT_NE(zone.owner(ip("fdaa::1:3")), nullptr);
  EXPECT_EQ(zone.owner(ip("fdaa::1:3"))->machine->id, "m-DB");
  EXPECT_EQ(zone.owner(ip("fdaa::1:1"))->machine, nullptr);
  directory.remove_app(kNet, "Db");
  EXPECT_EQ(zone.app("db"), nullptr);
  EXPECT_EQ(zone.owner(ip("fdaa::1:1")), nullptr);
}

TEST(Directory, AnAddressThatChangedHandsStaysWithTheNewOwner) {
  Directory directory;
  directory.put_app(kNet, app("old", "fdaa::1:1", "fdaa::1:2"));
  directory.put_peer(kNet, {.name = "laptop", .address = ip("fdaa::1:2")});
  directory.remove_app(kNet, "old");
  ASSERT_NE(directory.zone(kNet).owner(ip("fdaa::1:2")), nullptr);
  EXPECT_EQ(directory.zone(kNet).owner(ip("fdaa::1:2"))->peer->name, "laptop");
  directory.remove_peer(kNet, "LAPTOP");
  EXPECT_EQ(directory.zone(kNet).owner(ip("fdaa::1:2")), nullptr);
}

TEST(Directory, AChangeAmongAHundredThousandAppsTouchesOne) {
  constexpr int kApps = 100'000;
  Directory directory;
  for (int i = 0; i < kApps; ++i) {
    directory.put_app(kNet, app(fmt::format("app-{}", i), fmt::format("fdaa::1:{:x}:0", i % 65536),
                                fmt::format("fdaa::{:x}:{:x}", 2 + i / 65536, i % 65536)));
  }
  const std::uint32_t serial = directory.serial();
  const AppRecord* const other = directory.zone(kNet).app("app-5");
  for (int i = 0; i < kApps; ++i) {
    const std::string name = fmt::format("app-{}", i % 5);
    directory.put_app(kNet, app(name, "fdaa::9:1", fmt::format("fdaa::9:{:x}:1", i % 5)));
  }
  EXPECT_EQ(directory.serial(), serial + kApps);
  EXPECT_EQ(directory.zone(kNet).apps().size(), static_cast<std::size_t>(kApps));
  EXPECT_EQ(directory.zone(kNet).app("app-5"), other);
}

}  // namespace
}  // namespace rooster::dns
