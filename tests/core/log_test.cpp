#include "core/log.hpp"

#include "core/log_thread.hpp"

#include <gtest/gtest.h>

#include <array>
#include <csignal>
#include <latch>

#include <fcntl.h>
#include <unistd.h>

namespace rooster {
namespace {

using namespace std::chrono_literals;

const WallTime kTime = WallTime(std::chrono::milliseconds(1'748'348'953'042));

class Pipe {
 public:
  Pipe() { EXPECT_EQ(pipe2(ends_.data(), O_NONBLOCK | O_CLOEXEC), 0); }
  ~Pipe() {
    for (const int end : ends_) {
      if (end >= 0) close(end);
    }
  }
  int writing() const { return ends_[1]; }
  void close_reader() { close(std::exchange(ends_[0], -1)); }
  std::string read_all() {
    std::string text;
    std::array<char, 65536> buffer;
    for (ssize_t n = 0; (n = read(ends_[0], buffer.data(), buffer.size())) > 0;) {
      text.append(buffer.data(), static_cast<std::size_t>(n));
    }
    return text;
  }

 private:
  std::array<int, 2> ends_{-1, -1};
};

TEST(LogLine, IsReadableByAPerson) {
  EXPECT_EQ(format_log_line(LogFormat::Human, kTime, LogLevel::Info, "machine started",
                            {{"app", "hello"}, {"took_ms", 12}, {"why", "GET /a b"}}),
            "2025-05-27T12:29:13.042Z info  machine started app=hello took_ms=12 why=\"GET /a b\"");
}

TEST(LogLine, IsOneJsonObject) {
  EXPECT_EQ(format_log_line(LogFormat::Json, kTime, LogLevel::Error, "x\ny", {{"n", -1}}),
            R"({"time":"2025-05-27T12:29:13.042Z","level":"error","message":"x\ny","n":-1})");
}

TEST(LogLine, CannotBeForgedByAValue) {
  for (const LogFormat format : {LogFormat::Human, LogFormat::Json}) {
    const std::string line = format_log_line(format, kTime, LogLevel::Warn, "bad\n2025 info forged",
                                             {{"host", "a\r\nb level=error"}});
    EXPECT_EQ(line.find('\n'), std::string::npos);
    EXPECT_EQ(line.find('\r'), std::string::npos);
  }
}

TEST(LogTime, HandlesLeapDaysAndTheEpoch) {
  EXPECT_EQ(format_time(WallTime{}), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(format_time(WallTime(std::chrono::seconds(1'709'164'800))), "2024-02-29T00:00:00.000Z");
}

TEST(Log, WritesItsLevelAndAbove) {
  Pipe pipe;
  Log log({.level = LogLevel::Warn, .descriptor = pipe.writing()});
  log.info("quiet");
  log.warn("loud");
  EXPECT_TRUE(log.drain());
  EXPECT_FALSE(log.drain());
  const std::string text = pipe.read_all();
  EXPECT_EQ(text.find("quiet"), std::string::npos);
  EXPECT_NE(text.find("warn  loud\n"), std::string::npos);
}

TEST(Log, DropsAndCountsWhenNobodyReads) {
  Pipe pipe;
  Log log({.descriptor = pipe.writing()});
  const std::string filler(1000, 'x');
  for (int i = 0; i < 3000; ++i) log.info(filler);
  EXPECT_GT(log.dropped(), 0U);
  const std::string told = "dropped=" + std::to_string(log.dropped()) + "\n";
  std::string text;
  for (int i = 0; i < 1000 && !text.ends_with(told); ++i) {
    log.drain();
    text += pipe.read_all();
  }
  EXPECT_TRUE(text.ends_with(told));
}

TEST(WriteWithoutBlocking, SaysWhenAPipeIsFullOrClosed) {
  signal(SIGPIPE, SIG_IGN);
  Pipe pipe;
  std::int64_t n = 0;
  for (int i = 0; i < 1000; ++i) {
    n = write_without_blocking(pipe.writing(), std::string(4096, 'x'));
    if (n <= 0) break;
  }
  EXPECT_EQ(n, 0);
  pipe.close_reader();
  EXPECT_EQ(write_without_blocking(pipe.writing(), "x"), -EPIPE);
  EXPECT_EQ(write_without_blocking(-1, "x"), -EBADF);
}

TEST(LogThread, DrainsAgainAndAgainAndALastTime) {
  std::latch called(3);
  std::atomic<int> calls{0};
  bool last_call_seen = false;
  std::atomic<bool> stopping{false};
  {
    LogThread thread({[&] {
      if (calls.fetch_add(1) < 3) called.count_down();
      if (stopping) last_call_seen = true;
      return false;
    }});
    called.wait();
    stopping = true;
  }
  EXPECT_TRUE(last_call_seen);
}

}  // namespace
}  // namespace rooster
