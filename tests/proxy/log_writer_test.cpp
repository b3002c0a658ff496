#include "proxy/log_writer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace rooster::proxy {
namespace {

using namespace std::chrono_literals;

const TimePoint kStart = TimePoint(1000s);

AccessRecord record_of(std::string_view target) {
  AccessRecord record;
  record.target = target;
  record.status = 200;
  return record;
}

class LogWriterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "rooster-log-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string path(const char* name) const { return (folder_ / name).string(); }
  static std::string text_of(const std::string& file) {
    std::ifstream in(file);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static std::size_t lines_of(const std::string& file) {
    const std::string text = text_of(file);
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
  }

  std::filesystem::path folder_;
  Counter dropped_a_;
  Counter dropped_b_;
  AccessRing a_{dropped_a_, 4 * limits::kLogRecordBytes};
  AccessRing b_{dropped_b_, 4 * limits::kLogRecordBytes};
};

TEST_F(LogWriterTest, WritesTheRecordsOfAllRings) {
  LogWriter writer(path("log"), "gru", {&a_, &b_});
  a_.push(record_of("/a"));
  b_.push(record_of("/b"));
  EXPECT_TRUE(writer.drain(kStart));
  EXPECT_FALSE(writer.drain(kStart));
  const std::string text = text_of(path("log"));
  EXPECT_NE(text.find(R"("target":"/a")"), std::string::npos);
  EXPECT_NE(text.find(R"("target":"/b")"), std::string::npos);
  EXPECT_EQ(lines_of(path("log")), 2U);
}

TEST_F(LogWriterTest, SaysHowManyRecordsWereDropped) {
  LogWriter writer(path("log"), "gru", {&a_, &b_});
  while (b_.dropped() < 3) b_.push(record_of("/x"));
  writer.drain(kStart);
  EXPECT_NE(text_of(path("log")).find(R"("dropped":3,"worker":1})"), std::string::npos);
  writer.drain(kStart);
  const std::string text = text_of(path("log"));
  EXPECT_EQ(text.find("dropped"), text.rfind("dropped")) << "told once";
}

TEST_F(LogWriterTest, TriesAFullDiskOnceASecondAndCountsWhatIsLost) {
  LogWriter writer("/dev/full", "gru", {&a_});
  a_.push(record_of("/kept"));
  EXPECT_FALSE(writer.drain(kStart));
  EXPECT_EQ(writer.trouble(), ENOSPC);
  while (a_.dropped() == 0) a_.push(record_of("/x"));
  EXPECT_FALSE(writer.drain(kStart + 500ms));
  AccessRecord front;
  EXPECT_TRUE(a_.front(front)) << "records wait in the ring meanwhile";

  writer.reopen(path("log"));
  while (writer.drain(kStart + 1s)) {
  }
  const std::string text = text_of(path("log"));
  EXPECT_NE(text.find("/kept"), std::string::npos) << "what was formatted is not lost";
  EXPECT_NE(text.find(R"("dropped":1,)"), std::string::npos);
  EXPECT_EQ(writer.trouble(), 0);
}

TEST_F(LogWriterTest, ComesBackAfterAClosedPipe) {
  signal(SIGPIPE, SIG_IGN);
  ASSERT_EQ(mkfifo(path("fifo").c_str(), 0600), 0);
  LogWriter writer(path("fifo"), "gru", {&a_});
  a_.push(record_of("/first"));
  EXPECT_FALSE(writer.drain(kStart));
  EXPECT_EQ(writer.trouble(), ENXIO) << "nobody reads yet, and nobody waits for it";

  const int reader = open(path("fifo").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  EXPECT_TRUE(writer.drain(kStart + 1s));
  close(reader);
  a_.push(record_of("/second"));
  EXPECT_FALSE(writer.drain(kStart + 1s));
  EXPECT_EQ(writer.trouble(), EPIPE);

  const int again = open(path("fifo").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  EXPECT_TRUE(writer.drain(kStart + 2s));
  std::array<char, 4096> text{};
  EXPECT_GT(read(again, text.data(), text.size()), 0);
  EXPECT_NE(std::string_view(text.data()).find("/second"), std::string_view::npos);
  close(again);
}

TEST_F(LogWriterTest, WaitsForAFullPipeWithoutBlocking) {
  ASSERT_EQ(mkfifo(path("fifo").c_str(), 0600), 0);
  const int reader = open(path("fifo").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  LogWriter writer(path("fifo"), "gru", {&a_});
  std::uint64_t pushed = 0;
  for (int i = 0; i < 2000; ++i) {
    a_.push(record_of("/x"));
    ++pushed;
    writer.drain(kStart);
  }
  EXPECT_GT(a_.dropped(), 0U);
  std::string text;
  std::array<char, 65536> buffer;
  for (int i = 0; i < 100; ++i) {
    const ssize_t n = read(reader, buffer.data(), buffer.size());
    if (n > 0) text.append(buffer.data(), static_cast<std::size_t>(n));
    writer.drain(kStart);
  }
  const auto lines = static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n'));
  EXPECT_GE(lines + a_.dropped(), pushed);
  EXPECT_EQ(text.back(), '\n');
  close(reader);
}

TEST_F(LogWriterTest, GoesOnInTheNewFileAfterARotation) {
  LogWriter writer(path("log"), "gru", {&a_});
  a_.push(record_of("/old"));
  writer.drain(kStart);
  std::filesystem::rename(path("log"), path("log.1"));
  a_.push(record_of("/still-old"));
  writer.drain(kStart);
  writer.reopen(path("log"));
  a_.push(record_of("/new"));
  writer.drain(kStart);
  EXPECT_EQ(lines_of(path("log.1")), 2U);
  EXPECT_EQ(lines_of(path("log")), 1U);
}

TEST_F(LogWriterTest, DiscardsEverythingWhenTheLogIsOff) {
  LogWriter writer("", "gru", {&a_});
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 20; ++i) a_.push(record_of("/x"));
    writer.drain(kStart);
  }
  EXPECT_EQ(a_.dropped(), 0U);
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

}  // namespace
}  // namespace rooster::proxy
