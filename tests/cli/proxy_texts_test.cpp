#include "cli/proxy_texts.hpp"

#include <gtest/gtest.h>

namespace rooster::cli {
namespace {

using namespace std::chrono_literals;
using Lines = std::vector<std::string>;

const ProxyMapping kDb{.local_port = 5432, .local_path = {}, .remote = {"db.internal", 5432}};

TEST(ProxyTexts, AreFlysWhereFlyHasThem) {
  EXPECT_EQ(proxying_line(kDb, 5432), "Proxying localhost:5432 to remote [db.internal]:5432");
  ProxyMapping any = kDb;
  any.local_port = 0;
  EXPECT_EQ(proxying_line(any, 40123), "Proxying localhost:40123 to remote [db.internal]:5432");
  any.local_path = "/tmp/pg.sock";
  EXPECT_EQ(proxying_line(any, 0), "Proxying /tmp/pg.sock to remote [db.internal]:5432");
}

TEST(ProxyTexts, NameWhoFailedAndWhy) {
  EXPECT_EQ(failed_line(kDb.remote, net::ConnectRefusal{504, "wake_timeout", "db is not ready"}),
            "connection to db.internal:5432 failed: db is not ready [wake_timeout]");
  EXPECT_EQ(
      failed_line(kDb.remote, Error(Fault::UpstreamConnectTimeout)),
      "connection to db.internal:5432 failed: The app did not accept the connection in time.");
  EXPECT_EQ(lost_line(kDb.remote, "the gateway restarted"),
            "connection to db.internal:5432 lost: the gateway restarted");
  EXPECT_EQ(lost_line(kDb.remote, ""),
            "connection to db.internal:5432 lost: the app closed it, or its machine stopped");
}

TEST(ProxyTexts, SayWhoHoldsAPort) {
  EXPECT_EQ(
      port_taken_text("127.0.0.1", kDb, {77, "postgres"}),
      "port 5432 of 127.0.0.1 is taken by postgres (pid 77); stop it, or choose another local "
      "port: 15432:5432");
  EXPECT_EQ(port_taken_text("::1", kDb, {}),
            "port 5432 of ::1 is taken by another process; stop it, or choose another local port: "
            "15432:5432");
}

TEST(ProxyTexts, WriteDurations) {
  EXPECT_EQ(duration_text(45s), "45s");
  EXPECT_EQ(duration_text(200s), "3m20s");
  EXPECT_EQ(duration_text(3h + 12min + 5s), "3h12m");
}

TEST(RepeatedLines, SayALineOnceAndCountItsRepeats) {
  RepeatedLines lines;
  const TimePoint start{};
  EXPECT_EQ(lines.add("down", start), Lines{"down"});
  for (int i = 0; i < 37; ++i) EXPECT_EQ(lines.add("down", start + 1s), Lines{});
  EXPECT_EQ(lines.add("other", start + 2s), Lines{"other"});
  EXPECT_EQ(lines.due(start + 9s), Lines{});
  EXPECT_EQ(lines.due(start + 10s), Lines{"down (37 more times in 10s)"});
  EXPECT_EQ(lines.add("down", start + 11s), Lines{"down"}) << "a new window";
  EXPECT_EQ(lines.add("down", start + 11s), Lines{});
  EXPECT_EQ(lines.rest(), Lines{"down (1 more time in 10s)"});
  EXPECT_EQ(lines.rest(), Lines{});
}

TEST(RepeatedLines, KeepFewOfThem) {
  RepeatedLines lines;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(lines.add("line " + std::to_string(i), TimePoint{}).size(), 1U);
  }
}

TEST(SleepWatch, TellsAGapFromTheNextSecond) {
  SleepWatch watch;
  EXPECT_EQ(watch.look(1'000'000ms), std::nullopt);
  EXPECT_EQ(watch.look(1'001'000ms), std::nullopt);
  EXPECT_EQ(watch.look(1'010'999ms), std::nullopt) << "a busy machine";
  EXPECT_EQ(watch.look(1'211'000ms), 200s);
  EXPECT_EQ(watch.look(1'212'000ms), std::nullopt);
}

}  // namespace
}  // namespace rooster::cli
