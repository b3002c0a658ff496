// The apps' output on disk: bounded, rotated once, and never anybody's trouble.
#include "admin/output_files.hpp"

#include "admin/log_tail.hpp"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace rooster::admin {
namespace {

LogLine line(std::string message, std::string app = "hello") {
  LogLine made;
  made.at = std::chrono::system_clock::from_time_t(1'748'348'953);
  made.app = std::move(app);
  made.machine = "908027d3be7938";
  made.region = "gru";
  made.message = std::move(message);
  return made;
}

class OutputFilesTest : public ::testing::Test {
 protected:
  OutputFilesTest() {
    std::string pattern = std::filesystem::temp_directory_path() / "rooster-output-XXXXXX";
    folder = ::mkdtemp(pattern.data());
  }
  ~OutputFilesTest() override { std::filesystem::remove_all(folder); }
  std::string text(const std::string& name) const {
    std::ifstream file(folder / "logs" / name);
    std::stringstream all;
    all << file.rdbuf();
    return all.str();
  }
  std::string logs() const { return folder / "logs"; }
  std::filesystem::path folder;
};

TEST_F(OutputFilesTest, StandInAFileOfTheirAppAsLogsPrintsThem) {
  OutputFiles files(logs());
  EXPECT_FALSE(files.drain());
  files.add(line("one"));
  files.add(line("two", "other"));
  files.add(line("three"));
  EXPECT_TRUE(files.drain());
  EXPECT_EQ(text("hello.log"), format_fly_line(line("one")) + format_fly_line(line("three")));
  EXPECT_EQ(text("other.log"), format_fly_line(line("two")));
  struct stat status{};
  ASSERT_EQ(::stat((logs() + "/hello.log").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  EXPECT_EQ(files.take_dropped(), 0u);
}

TEST_F(OutputFilesTest, AreRotatedOnceAndStayWithinTheirSize) {
  OutputFiles files(logs(), {.file_bytes = 1000, .queued_bytes = 100'000});
  for (int i = 0; i < 100; ++i) {
    files.add(line("line " + std::to_string(i)));
    files.drain();
  }
  EXPECT_LE(text("hello.log").size(), 1000u);
  EXPECT_LE(text("hello.log.1").size(), 1000u);
  EXPECT_FALSE(std::filesystem::exists(logs() + "/hello.log.2"));
  const auto last = files.last_lines("hello", 3);
  ASSERT_EQ(last.size(), 3u);
  EXPECT_EQ(last[0].message, "line 97");
  EXPECT_EQ(last[2].message, "line 99");
  EXPECT_GT(files.last_lines("hello", 1000).size(), 10u);  // over both files
}

TEST_F(OutputFilesTest, GiveBackWhatWasWritten) {
  OutputFiles files(logs());
  LogLine written = line("[x] a] b [c");
  written.level = "warn";
  written.provider = "proxy";
  files.add(written);
  files.drain();
  const auto read = files.last_lines("hello", 10);
  ASSERT_EQ(read.size(), 1u);
  EXPECT_EQ(read[0].at, written.at);
  EXPECT_EQ(read[0].provider, "proxy");
  EXPECT_EQ(read[0].machine, written.machine);
  EXPECT_EQ(read[0].region, "gru");
  EXPECT_EQ(read[0].level, "warn");
  EXPECT_EQ(read[0].message, written.message);
  EXPECT_TRUE(files.last_lines("nobody", 10).empty());
}

TEST_F(OutputFilesTest, DropAndCountWhatDoesNotFitTheQueue) {
  OutputFiles files(logs(), {.file_bytes = 1000, .queued_bytes = 200});
  for (int i = 0; i < 10; ++i) files.add(line("0123456789"));
  EXPECT_GT(files.take_dropped(), 0u);
  EXPECT_EQ(files.take_dropped(), 0u);
  files.drain();
  EXPECT_LE(text("hello.log").size(), 200u);
  files.add(line("goes on"));
  files.drain();
  EXPECT_NE(text("hello.log").find("goes on"), std::string::npos);
}

TEST_F(OutputFilesTest, DropAndCountWhatTheDiskDoesNotTake) {
  std::ofstream(folder / "file") << "";
  OutputFiles files((folder / "file" / "logs").string());  // no folder can be made there
  files.add(line("lost"));
  EXPECT_TRUE(files.drain());
  EXPECT_EQ(files.take_dropped(), format_fly_line(line("lost")).size());
}

TEST_F(OutputFilesTest, LeaveNoHalfLineWhereTheDiskIsFull) {
  OutputFiles files(logs());
  files.add(line("whole"));
  files.drain();
  // The largest file allowed stands for the full disk: both take the first bytes of a write.
  const auto before = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  ::getrlimit(RLIMIT_FSIZE, &old);
  const rlimit small{.rlim_cur = text("hello.log").size() + 10, .rlim_max = old.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  files.add(line("half"));
  files.drain();
  ::setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, before);
  EXPECT_EQ(text("hello.log"), format_fly_line(line("whole")));
  EXPECT_GT(files.take_dropped(), 0u);
}

TEST_F(OutputFilesTest, DoNotFollowALink) {
  OutputFiles files(logs());
  ASSERT_EQ(::symlink("/dev/full", (logs() + "/full.log").c_str()), 0);
  files.add(line("not through a link", "full"));
  files.drain();
  EXPECT_GT(files.take_dropped(), 0u);
}

}  // namespace
}  // namespace rooster::admin
