#include "keeper/sweep.hpp"

#include "keeper/process_tree.hpp"
#include "keeper/small_file.hpp"

#include <gtest/gtest.h>

#include <csignal>

#include <sys/wait.h>
#include <unistd.h>

namespace rooster::keeper {
namespace {

/// A child that sleeps until it is killed.
class Sleeper {
 public:
  Sleeper() : pid_(::fork()) {
    if (pid_ == 0) {
      ::setsid();
      while (true) ::pause();
    }
    start_time_ = read_stat(pid_)->start_time;
  }
  ~Sleeper() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  bool runs() const { return is_running(pid_, start_time_); }
  std::string record(std::uint64_t off_by) const {
    return "+ " + std::to_string(pid_) + ' ' + std::to_string(start_time_ + off_by) + " -\n";
  }

 private:
  pid_t pid_;
  std::uint64_t start_time_ = 0;
};

std::string this_boot() {
  std::string id = *read_small_file("/proc/sys/kernel/random/boot_id");
  id.pop_back();
  return "keeper " + id + " -\n";
}

TEST(Sweep, StateIsWhatWasAddedAndNotRemoved) {
  const StateText state = parse_state(
      "keeper boot-1 /sys/fs/cgroup/rooster-1-2\n+ 10 99 a-b-1\n"
      "+ 11 98 -\n- 10\n+ 12 97 -\n");
  EXPECT_EQ(state.boot_id, "boot-1");
  EXPECT_EQ(state.cgroup, "/sys/fs/cgroup/rooster-1-2");
  ASSERT_EQ(state.alive.size(), 2U);
  EXPECT_EQ(state.alive.at(11).start_time, 98U);
  EXPECT_EQ(state.alive.at(11).invocation, "");
}

TEST(Sweep, LinesThatMakeNoSenseArePassedOver) {
  const StateText state = parse_state("\n+\n+ x y z\n+ 1 5 -\n+ -4 5 -\n- \n? 3\n+ 20 7 -\n+ 21 8");
  ASSERT_EQ(state.alive.size(), 1U);
  EXPECT_TRUE(state.alive.contains(20));
}

TEST(Sweep, KillsTheRecordedProcess) {
  const Sleeper sleeper;
  EXPECT_EQ(sweep(parse_state(this_boot() + sleeper.record(0))), 1U);
  EXPECT_FALSE(sleeper.runs());
}

TEST(Sweep, SparesAnotherProcessOfTheSameNumber) {
  const Sleeper sleeper;
  EXPECT_EQ(sweep(parse_state(this_boot() + sleeper.record(1))), 0U);
  EXPECT_TRUE(sleeper.runs());
}

TEST(Sweep, SparesEverythingAfterAReboot) {
  const Sleeper sleeper;
  EXPECT_EQ(sweep(parse_state("keeper another-boot -\n" + sleeper.record(0))), 0U);
  EXPECT_TRUE(sleeper.runs());
}

TEST(Sweep, KillsNoCgroupThatIsNotAKeepers) {
  std::string boot = this_boot();
  boot.replace(boot.find(" -\n"), 3, " /sys/fs/cgroup/unified\n");
  EXPECT_EQ(sweep(parse_state(boot)), 0U);
}

}  // namespace
}  // namespace rooster::keeper
