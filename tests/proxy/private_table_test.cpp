#include "proxy/private_table.hpp"

#include "core/private_address.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace rooster::proxy {
namespace {

using Kind = PrivateTarget::Kind;
using Who = PrivateSource::Who;

constexpr NetworkId kOurs{0x33};
constexpr NetworkId kOthers{0x44};

IpAddress ip(std::string_view text) {
  return IpAddress::parse(text).value();
}

machines::MachineView machine(std::string id, IpAddress address, std::string_view v4 = "") {
  machines::MachineView view;
  view.id = {std::move(id)};
  view.private_address = address;
  if (!v4.empty()) view.private_v4 = ip(v4);
  return view;
}

std::shared_ptr<machines::AppView> app(std::uint32_t id, std::string name, NetworkId network) {
  auto view = std::make_shared<machines::AppView>();
  view->id = AppId{id};
  auto config = std::make_shared<config::AppConfig>();
  config->name = std::move(name);
  view->config = config;
  view->network = network;
  view->flycast = flycast_address(network, id + 1);
  return view;
}

// Apps db (machines d1, d2) and web in one network, other in another; a peer in each.
struct Table {
  Table() {
    db = app(0, "DB", kOurs);
    db->machines = {machine("d1", machine_address(kOurs, HostId{2}, 1), "172.19.0.2"),
                    machine("d2", machine_address(kOurs, HostId{2}, 2))};
    web = app(1, "web", kOurs);
    web->machines = {machine("w1", machine_address(kOurs, HostId{2}, 3))};
    other = app(2, "other", kOthers);
    other->machines = {machine("o1", machine_address(kOthers, HostId{2}, 4))};
    for (const auto& view : {db, web, other}) table.adopt(view);
    add_peer(kOurs, 7, "laptop");
    add_peer(kOthers, 7, "stranger");
  }
  void add_peer(NetworkId network, std::uint32_t index, std::string name,
                std::vector<std::string> apps = {}) {
    auto fact = std::make_shared<PeerFact>();
    fact->address = peer_address(network, GatewayId{2}, index);
    fact->network = network;
    fact->name = std::move(name);
    fact->apps = std::move(apps);
    table.adopt(PeerFactPtr(fact));
  }
  PrivateSource laptop() const {
    return table.source(peer_address(kOurs, GatewayId{2}, 7)).value();
  }
  PrivateTarget to(const PrivateSource& source, IpAddress address, std::uint16_t port = 5432) {
    return table.destination(source, {.address = address, .port = port});
  }
  PrivateTarget named(std::string_view name) { return table.find(laptop(), name, 5432); }
  std::shared_ptr<machines::AppView> db, web, other;
  PrivateTable table;
};

TEST(PrivateTable, KnowsWhoSpeaks) {
  Table t;
  const PrivateSource laptop = t.laptop();
  EXPECT_EQ(laptop.who, Who::Peer);
  EXPECT_EQ(laptop.name, "laptop");
  EXPECT_EQ(laptop.network, kOurs);
  const auto machine = t.table.source(machine_address(kOurs, HostId{2}, 1));
  ASSERT_TRUE(machine);
  EXPECT_EQ(machine->who, Who::Machine);
  EXPECT_EQ(machine->name, "d1");
  EXPECT_EQ(machine->app, AppId{0});
  ASSERT_TRUE(t.table.source(ip("172.19.0.2")));
  EXPECT_EQ(t.table.source(ip("172.19.0.2"))->name, "d1");
  EXPECT_FALSE(t.table.source(ip("172.19.0.3")));
  EXPECT_FALSE(t.table.source(machine_address(kOurs, HostId{2}, 99)));
  EXPECT_FALSE(t.table.source(ip("2001:db8::1")));
}

TEST(PrivateTable, AllOfAPrefixIsItsOwners) {
  Table t;
  auto bytes = peer_address(kOurs, GatewayId{2}, 7).bytes();
  bytes[15] = 0xFE;
  ASSERT_TRUE(t.table.source(IpAddress::from_bytes(bytes)));
  EXPECT_EQ(t.table.source(IpAddress::from_bytes(bytes))->name, "laptop");
  bytes = machine_address(kOurs, HostId{2}, 3).bytes();
  bytes[14] = 0x12;
  ASSERT_TRUE(t.table.source(IpAddress::from_bytes(bytes)));
  EXPECT_EQ(t.table.source(IpAddress::from_bytes(bytes))->name, "w1");
}

TEST(PrivateTable, LeadsToServicesMachinesAndInfrastructure) {
  Table t;
  const PrivateTarget service = t.to(t.laptop(), t.db->flycast);
  EXPECT_EQ(service.kind, Kind::Service);
  EXPECT_EQ(service.app, AppId{0});
  EXPECT_EQ(service.port, 5432);
  const PrivateTarget machine = t.to(t.laptop(), machine_address(kOurs, HostId{2}, 2));
  EXPECT_EQ(machine.kind, Kind::Machines);
  EXPECT_EQ(machine.machine, "d2");
  EXPECT_EQ(t.to(t.laptop(), infra_address(kOurs), 53).kind, Kind::Dns);
  EXPECT_EQ(t.to(t.laptop(), infra_address(kOurs), 4280).kind, Kind::Api);
  EXPECT_EQ(t.to(t.laptop(), infra_address(kOurs), 22).kind, Kind::Refused);
  EXPECT_EQ(t.to(t.laptop(), machine_dns_address(), 4280).kind, Kind::Refused);
}

TEST(PrivateTable, OneNetworkNeverReachesAnother) {
  Table t;
  for (const IpAddress& address :
       {t.other->flycast, machine_address(kOthers, HostId{2}, 4), infra_address(kOthers),
        peer_address(kOthers, GatewayId{2}, 7)}) {
    const PrivateTarget target = t.to(t.laptop(), address, 53);
    EXPECT_EQ(target.kind, Kind::Refused) << address.to_string();
    EXPECT_EQ(target.fault, Fault::NoRoute);
  }
  EXPECT_EQ(t.named("other.internal").fault, Fault::NoRoute);
  EXPECT_EQ(t.named("other.flycast").fault, Fault::NoRoute);
}

TEST(PrivateTable, APeerReachesOnlyTheAppsOfItsToken) {
  Table t;
  t.add_peer(kOurs, 7, "laptop", {"db"});
  EXPECT_EQ(t.to(t.laptop(), t.db->flycast).kind, Kind::Service);
  EXPECT_EQ(t.to(t.laptop(), t.web->flycast).fault, Fault::NotAllowed);
  EXPECT_EQ(t.named("w1.vm.web.internal").fault, Fault::NotAllowed);
}

TEST(PrivateTable, OnlyMachinesGoOut) {
  Table t;
  const auto machine = t.table.source(machine_address(kOurs, HostId{2}, 1)).value();
  EXPECT_EQ(t.to(machine, ip("192.0.2.1"), 443).kind, Kind::Egress);
  EXPECT_EQ(t.to(machine, ip("2001:db8::1"), 443).kind, Kind::Egress);
  EXPECT_EQ(t.to(t.laptop(), ip("192.0.2.1"), 443).kind, Kind::Refused);
}

TEST(PrivateTable, FindsNames) {
  Table t;
  const PrivateTarget any = t.named("DB.internal.");
  EXPECT_EQ(any.kind, Kind::Machines);
  EXPECT_EQ(any.app, AppId{0});
  EXPECT_TRUE(any.machine.empty() && any.region.empty() && any.group.empty());
  EXPECT_EQ(t.named("gru.db.internal").region, "gru");
  EXPECT_EQ(t.named("d1.vm.db.internal").machine, "d1");
  EXPECT_EQ(t.named("worker.process.db.internal").group, "worker");
  EXPECT_EQ(t.named("top3.nearest.of.db.internal").kind, Kind::Machines);
  EXPECT_TRUE(t.named("top3.nearest.of.db.internal").region.empty());
  EXPECT_EQ(t.named("db.flycast").kind, Kind::Service);
  EXPECT_EQ(t.named(t.db->flycast.to_string()).kind, Kind::Service);
  for (const char* name : {"", "internal", ".internal", "db", "nobody.internal", "db.example.com",
                           ".db.internal", "a.b.db.internal", ".vm.db.internal", "x.db.flycast",
                           "topx.nearest.of.db.internal", "db..internal"}) {
    EXPECT_EQ(t.named(name).kind, Kind::Refused) << name;
  }
}

TEST(PrivateTable, AnOperatorReachesEveryNetworkByName) {
  Table t;
  const PrivateSource operator_{.who = Who::Operator, .name = "operator"};
  EXPECT_EQ(t.table.find(operator_, "other", 80).app, AppId{2});
  EXPECT_EQ(t.table.find(operator_, "db.internal", 80).app, AppId{0});
}

TEST(PrivateTable, FollowsChanges) {
  Table t;
  const IpAddress old_flycast = t.db->flycast;
  auto changed = std::make_shared<machines::AppView>(*t.db);
  changed->flycast = flycast_address(kOurs, 0x99);
  changed->machines.pop_back();
  t.table.adopt(changed);
  EXPECT_EQ(t.to(t.laptop(), old_flycast).kind, Kind::Refused);
  EXPECT_EQ(t.to(t.laptop(), changed->flycast).kind, Kind::Service);
  EXPECT_FALSE(t.table.source(machine_address(kOurs, HostId{2}, 2)));
  auto removed = std::make_shared<machines::AppView>(*changed);
  removed->removed = true;
  t.table.adopt(removed);
  EXPECT_EQ(t.to(t.laptop(), changed->flycast).kind, Kind::Refused);
  EXPECT_EQ(t.named("db.internal").kind, Kind::Refused);
  auto gone = std::make_shared<PeerFact>();
  gone->address = peer_address(kOurs, GatewayId{2}, 7);
  gone->removed = true;
  t.table.adopt(PeerFactPtr(gone));
  EXPECT_FALSE(t.table.source(gone->address));
  EXPECT_EQ(t.table.peers(), 1u);
}

TEST(PrivateTable, AnAddressThatChangedItsOwnerStaysTheNewOnes) {
  Table t;
  auto taker = std::make_shared<machines::AppView>(*t.web);
  taker->flycast = t.db->flycast;
  t.table.adopt(taker);
  auto removed = std::make_shared<machines::AppView>(*t.db);
  removed->removed = true;
  t.table.adopt(removed);
  EXPECT_EQ(t.to(t.laptop(), taker->flycast).app, AppId{1});
}

}  // namespace
}  // namespace rooster::proxy
