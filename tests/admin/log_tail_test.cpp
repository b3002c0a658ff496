#include "admin/log_tail.hpp"

#include <gtest/gtest.h>

namespace rooster::admin {
namespace {

using namespace std::chrono_literals;

LogLine line(std::string app, std::string message, std::string machine = "m1") {
  LogLine made;
  made.at = WallTime(1'748'348'953s);
  made.app = std::move(app);
  made.machine = std::move(machine);
  made.region = "dfw";
  made.message = std::move(message);
  return made;
}

std::vector<std::string> messages(const std::vector<LogLine>& lines) {
  std::vector<std::string> all;
  for (const LogLine& found : lines) all.push_back(found.message);
  return all;
}

using Messages = std::vector<std::string>;

TEST(FlyLine, LooksAsFlyctlPrintsIt) {
  LogLine made = line("a", "App ready", "908027d3be7938");
  made.provider = "proxy";
  EXPECT_EQ(format_fly_line(made),
            "2025-05-27T12:29:13Z proxy[908027d3be7938] dfw [info]App ready\n");
}

TEST(FlyLine, KeepsColoursAndNothingElseThatMovesACursor) {
  EXPECT_TRUE(format_fly_line(line("a", "\x1b[1;31mred\x1b[0m\tx"))
                  .ends_with("]\x1b[1;31mred\x1b[0m\tx\n"));
  EXPECT_TRUE(format_fly_line(line("a", "\x1b[2J\x1b]0;t\x07\r\n")).ends_with("]?[2J?]0;t???\n"));
}

TEST(LogTail, FindsByAppMachineAndSequence) {
  LogTail tail;
  tail.add(line("a", "1"));
  tail.add(line("b", "2", "m2"));
  tail.add(line("a", "3", "m3"));
  EXPECT_EQ(messages(tail.find({})), (Messages{"1", "2", "3"}));
  EXPECT_EQ(messages(tail.find({.app = "a"})), (Messages{"1", "3"}));
  EXPECT_EQ(messages(tail.find({.machine = "m2"})), (Messages{"2"}));
  EXPECT_EQ(messages(tail.find({.after = tail.find({}).front().sequence})), (Messages{"2", "3"}));
  EXPECT_EQ(messages(tail.find({.most = 2})), (Messages{"2", "3"}));
  EXPECT_TRUE(tail.find({.app = "nobody"}).empty());
}

TEST(LogTail, CutsOutputIntoLines) {
  LogTail tail;
  tail.add_output(line("a", ""), "one\ntw");
  tail.add_output(line("a", ""), "o\r\n\nlast");
  EXPECT_EQ(messages(tail.find({})), (Messages{"one", "two", ""}));
  tail.end_output(line("a", ""));
  EXPECT_EQ(messages(tail.find({})), (Messages{"one", "two", "", "last"}));
}

TEST(LogTail, DoesNotMixTwoMachinesLines) {
  LogTail tail;
  tail.add_output(line("a", "", "m1"), "left ");
  tail.add_output(line("a", "", "m2"), "other\n");
  tail.add_output(line("a", "", "m1"), "right\n");
  EXPECT_EQ(messages(tail.find({})), (Messages{"other", "left right"}));
}

TEST(LogTail, CutsALineThatNeverEnds) {
  LogTail tail;
  for (int i = 0; i < 100; ++i) tail.add_output(line("a", ""), std::string(1000, 'x'));
  EXPECT_EQ(tail.find({}).size(), 100'000 / LogTail::kMaxLineBytes);
  EXPECT_EQ(tail.find({}).front().message.size(), LogTail::kMaxLineBytes);
}

TEST(LogTail, LetsAChattyAppLoseItsOwnLines) {
  LogTail tail(64 * 1024);
  tail.add(line("quiet", "still here"));
  for (int i = 0; i < 10'000; ++i) tail.add(line("chatty", "line " + std::to_string(i)));
  EXPECT_LE(tail.bytes(), 64U * 1024);
  EXPECT_EQ(messages(tail.find({.app = "quiet"})), Messages{"still here"});
  EXPECT_EQ(tail.find({.app = "chatty"}).back().message, "line 9999");
}

}  // namespace
}  // namespace rooster::admin
