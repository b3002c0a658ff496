#include "proxy/pick_machine.hpp"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace rooster::proxy {
namespace {

using machines::AppView;
using machines::MachineLoad;
using machines::MachineView;

// An app with one service; every machine open and idle.
class PickMachine : public ::testing::Test {
 protected:
  PickMachine() {
    service_.processes = {"app"};
    service_.concurrency.soft_limit = 2;
    service_.concurrency.hard_limit = 4;
    view_.config = std::make_shared<config::AppConfig>();
  }

  MachineView& add(const std::string& id, std::uint32_t in_flight = 0,
                   const std::string& region = "gru") {
    MachineView machine;
    machine.id = {id};
    machine.region = region;
    machine.group = "app";
    machine.load = std::make_shared<MachineLoad>(AppId{1});
    machine.load_generation = machine.load->reopen(0);
    machine.routable = true;
    for (std::uint32_t i = 0; i < in_flight; ++i)
      EXPECT_TRUE(machine.load->try_take(machine.load_generation, 1000));
    view_.machines.push_back(std::move(machine));
    return view_.machines.back();
  }

  std::string pick(const Steering& steering = {}, std::uint64_t random = 0) {
    const auto choice = pick_machine(view_, service_, tried_, random, steering);
    if (choice) return view_.machines[*choice].id.value;
    switch (choice.error()) {
      case NoMachine::NoneReady:
        return "none ready";
      case NoMachine::AtHardLimit:
        return "at hard limit";
      case NoMachine::AllTried:
        return "all tried";
    }
    return "";
  }

  config::Service service_;
  AppView view_;
  PickHistory tried_;
};

TEST_F(PickMachine, TakesTheLeastLoaded) {
  add("a", 1);
  add("b", 0);
  add("c", 3);
  EXPECT_EQ(pick(), "b");
}

TEST_F(PickMachine, GoesByBucketThenByLoad) {
  service_.concurrency.soft_limit = 2;
  add("a", 3);
  add("b", 2);
  EXPECT_EQ(pick(), "b");
  add("c", 1);
  EXPECT_EQ(pick(), "c");
}

TEST_F(PickMachine, DrawsLotsBetweenEquals) {
  for (const char* id : {"a", "b", "c"}) add(id);
  std::map<std::string, int> seen;
  for (std::uint64_t random = 0; random < 600; ++random) ++seen[pick({}, random)];
  for (const char* id : {"a", "b", "c"}) EXPECT_EQ(seen[id], 200) << id;
}

TEST_F(PickMachine, NeverPassesTheHardLimit) {
  add("a", 4);
  EXPECT_EQ(pick(), "at hard limit");
  add("b", 3);
  EXPECT_EQ(pick(), "b");
}

TEST_F(PickMachine, LeavesOutWhatMayNotServe) {
  add("cordoned").routable = false;
  add("closed").load->close();
  add("older").load_generation -= 1;
  add("worker").group = "worker";
  EXPECT_EQ(pick(), "none ready");
}

TEST_F(PickMachine, TakesFailingOnesOnlyWhenNoneIsLeft) {
  add("failing").checks_passing = false;
  EXPECT_EQ(pick(), "failing");
  add("busy", 3);
  EXPECT_EQ(pick(), "busy");
  add("full", 4);
  tried_.add(1);
  EXPECT_EQ(pick(), "at hard limit") << "a healthy one will have room";
  tried_.add(2);
  EXPECT_EQ(pick(), "failing");
}

TEST_F(PickMachine, GoesToDistinctMachines) {
  add("a");
  add("b", 1);
  EXPECT_EQ(pick(), "a");
  tried_.add(0);
  EXPECT_EQ(pick(), "b");
  tried_.add(1);
  EXPECT_EQ(pick(), "all tried");
  tried_.clear();
  EXPECT_EQ(pick(), "a");
}

TEST_F(PickMachine, LeavesTheRegionOnlyWhenItIsFull) {
  add("near", 3, "gru");
  add("far", 0, "iad");
  EXPECT_EQ(pick({.own_region = "gru"}), "near") << "soft limits never shift the region";
  view_.machines[0].load->try_take(view_.machines[0].load_generation, 1000);
  EXPECT_EQ(pick({.own_region = "gru"}), "far");
}

TEST_F(PickMachine, FollowsTheSteeringFields) {
  add("a", 0, "gru");
  add("b", 1, "iad");
  add("c", 1, "ams");
  EXPECT_EQ(pick({.own_region = "gru", .prefer_regions = "ord, ams,iad"}), "c");
  EXPECT_EQ(pick({.own_region = "gru", .prefer_regions = "ord"}), "a");
  EXPECT_EQ(pick({.own_region = "gru", .force_regions = "iad"}), "b");
  EXPECT_EQ(pick({.force_regions = "ord"}), "none ready");
  EXPECT_EQ(pick({.force_regions = "ord,any"}), "a");
  EXPECT_EQ(pick({.own_region = "gru", .prefer_instance = "c"}), "c");
  EXPECT_EQ(pick({.own_region = "gru", .prefer_instance = "x"}), "a");
  EXPECT_EQ(pick({.own_region = "gru", .force_instance = "b"}), "b");
  EXPECT_EQ(pick({.force_instance = "x"}), "none ready");
}

}  // namespace
}  // namespace rooster::proxy
