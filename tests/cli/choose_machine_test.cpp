#include "cli/choose_machine.hpp"

#include <gtest/gtest.h>

namespace rooster::cli {
namespace {

const std::vector<MachineRow> kMachines{{"a1", "gru", "app", "stopped", ""},
                                        {"c3", "iad", "worker", "started", ""},
                                        {"b2", "gru", "app", "started", ""}};

std::string ids(const MachineWish& wish, const std::vector<MachineRow>& machines = kMachines) {
  const auto found = fitting_machines(machines, wish);
  if (!found) return found.error();
  std::string text;
  for (const MachineRow& machine : *found) text += machine.id + ' ';
  return text;
}

TEST(ChooseMachine, PrefersStartedOnesAndTakesSleepingOnesToo) {
  EXPECT_EQ(ids({.app = "db"}), "b2 c3 a1 ");
  EXPECT_EQ(ids({.app = "db", .id = {}, .region = "gru"}), "b2 a1 ");
  EXPECT_EQ(ids({.app = "db", .id = {}, .region = {}, .group = "worker"}), "c3 ");
  EXPECT_EQ(ids({.app = "db", .id = "a1"}), "a1 ") << "a sleeping one is woken";
}

TEST(ChooseMachine, SaysWhatFlyctlSays) {
  EXPECT_EQ(ids({.app = "db"}, {}),
            "app db has no started VMs.\nIt may be unhealthy or not have been deployed yet.\nTry "
            "the following command to verify:\n\nrooster status -a db");
  EXPECT_EQ(ids({.app = "db", .id = {}, .region = "fra"}), "app db has no VMs in region fra");
  EXPECT_EQ(ids({.app = "db", .id = {}, .region = {}, .group = "x"}),
            "app db has no VMs in process group x");
  EXPECT_TRUE(ids({.app = "db", .id = "zz"}).starts_with("--machine=\"zz\" not found"));
}

}  // namespace
}  // namespace rooster::cli
