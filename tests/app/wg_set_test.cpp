#include "app/wg_set.hpp"

#include "cluster/embedded_registry.hpp"

#include <gtest/gtest.h>

namespace rooster::app {
namespace {

using namespace std::chrono_literals;

class WgSet : public testing::Test {
 protected:
  WgSet() {
    registry_.create_peer({.key = key_, .name = "laptop"}, {}, [](const auto&) {});
  }
  tunnel::UapiPeer asked() const { return {.key = {key_}}; }
  cluster::PeerPtr peer() const { return registry_.find_peer(key_); }

  cluster::Key key_{1, 2, 3};
  cluster::EmbeddedRegistry registry_{{}, cluster::kernel_random, [](const cluster::Rows&) {}};
};

TEST_F(WgSet, ChangesWhatIsAskedAndNothingElse) {
  tunnel::UapiPeer wanted = asked();
  tunnel::KeyBytes secret{9};
  wanted.preshared = tunnel::PresharedKey(secret);
  wanted.keepalive = 25s;
  apply_wg_set({.peers = {wanted}}, registry_, {});
  ASSERT_TRUE(peer()->preshared);
  EXPECT_EQ(*peer()->preshared, secret);
  EXPECT_EQ(peer()->keepalive_seconds, 25);
  apply_wg_set({.peers = {asked()}}, registry_, {});
  EXPECT_TRUE(peer()->preshared);
  EXPECT_EQ(peer()->keepalive_seconds, 25);
  wanted = asked();
  wanted.preshared.emplace();
  wanted.keepalive = 0s;
  apply_wg_set({.peers = {wanted}}, registry_, {});
  EXPECT_FALSE(peer()->preshared) << "the zero key is none";
  EXPECT_EQ(peer()->keepalive_seconds, 0);
}

TEST_F(WgSet, RemovesAPeerForGood) {
  tunnel::UapiPeer wanted = asked();
  wanted.remove = true;
  apply_wg_set({.peers = {wanted}}, registry_, {});
  EXPECT_EQ(peer(), nullptr);
  apply_wg_set({.peers = {wanted}}, registry_, {});
}

}  // namespace
}  // namespace rooster::app
