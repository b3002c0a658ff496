// Where machines lie in the private network, and what follows from it for their ports.
#include "tests/machines/coordinator_fixture.hpp"

namespace rooster::machines {
namespace {

class PrivatePlaceTest : public CoordinatorTest {
 protected:
  PrivatePlaceTest() {
    CoordinatorOptions options;
    options.places.of_app = [this](const config::AppConfig& config) {
      const NetworkId network{config.rooster.network == "default" ? 7U : 8U};
      return AppPlace{.network = network,
                      .flycast = *IpAddress::parse("fdaa:0:7:0:1::2"),
                      .has_namespaces = has_namespaces_};
    };
    options.places.of_machine = [](NetworkId network, const MachineId&) {
      return *IpAddress::parse(network.value == 7 ? "fdaa:0:7:0:2:aa:bb:2"
                                                  : "fdaa:0:8:0:2:aa:bb:2");
    };
    make(std::move(options));
  }
  bool has_namespaces_ = true;
};

TEST_F(PrivatePlaceTest, AViewSaysWhereTheAppAndItsMachinesLie) {
  configure(make_config());
  EXPECT_EQ(view().network.value, 7U);
  EXPECT_EQ(view().flycast.to_string(), "fdaa:0:7:0:1::2");
  EXPECT_TRUE(machine().netns);
  EXPECT_EQ(machine().private_address.to_string(), "fdaa:0:7:0:2:aa:bb:2");
  wake();
  const auto starts = take<StartMachine>();
  ASSERT_EQ(starts.size(), 1U);
  EXPECT_EQ(starts[0].spec.private_address, machine().private_address);
  EXPECT_NE(std::ranges::find(starts[0].spec.env, "FLY_PRIVATE_IP=fdaa:0:7:0:2:aa:bb:2"),
            starts[0].spec.env.end());
}

TEST_F(PrivatePlaceTest, MachinesWithNamespacesShareNoPorts) {
  config::AppConfig config = make_config();
  config.rooster.machines = {{"gru", 1}};
  configure(config);
  config.name = "other";
  configure(config, AppId{2});
  wake(kApp);
  wake(AppId{2});
  const auto starts = take<StartMachine>();
  ASSERT_EQ(starts.size(), 2U);
  EXPECT_EQ(starts[0].spec.ports, starts[1].spec.ports);
}

TEST_F(PrivatePlaceTest, AnotherNetworkIsAnotherConfig) {
  configure(make_config());
  wake_until_ready();
  config::AppConfig config = make_config();
  config.rooster.network = "staging";
  configure(config);
  EXPECT_EQ(machine().private_address.to_string(), "fdaa:0:7:0:2:aa:bb:2") << "it still runs there";
  EXPECT_NE(start_fingerprint(make_config(), "app"), start_fingerprint(config, "app"));
}

TEST_F(PrivatePlaceTest, WithoutNamespacesMachinesShareTheHost) {
  has_namespaces_ = false;
  configure(make_config());
  EXPECT_FALSE(machine().netns);
  EXPECT_EQ(machine().private_address.to_string(), "fdaa:0:7:0:2:aa:bb:2");
  EXPECT_EQ(view().network.value, 7U);
  wake();
  EXPECT_EQ(take<StartMachine>().at(0).spec.private_address, IpAddress());
}

}  // namespace
}  // namespace rooster::machines
