#include "proxy/access_log.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>

namespace rooster::proxy {
namespace {

AccessRecord sample(std::string_view target = "/a?b=1") {
  AccessRecord record;
  record.time = WallTime(std::chrono::milliseconds(1'748'348'953'042));
  record.request_id = "01JW8ZQX7M3N5R2T4V6Y8B0D1F-gru";
  record.app = "hello";
  record.machine = "908027d3be7938";
  record.region = "gru";
  record.client = "203.0.113.7";
  record.method = "GET";
  record.host = "hello.app.dev";
  record.target = target;
  record.user_agent = "curl/8";
  record.bytes_out = 12;
  record.total_us = 1'234;
  record.upstream_us = 900;
  record.status = 200;
  record.tls = TlsVersion::Tls13;
  record.attempts = 1;
  return record;
}

std::string line_of(const AccessRecord& record) {
  std::string line;
  append_access_line(line, record, "gru");
  return line;
}

TEST(AccessLine, IsOneJsonObject) {
  EXPECT_EQ(
      line_of(sample()),
      R"({"time":"2025-05-27T12:29:13.042Z","id":"01JW8ZQX7M3N5R2T4V6Y8B0D1F-gru","app":"hello",)"
      R"("machine":"908027d3be7938","region":"gru","client":"203.0.113.7","method":"GET",)"
      R"("host":"hello.app.dev","target":"/a?b=1","tls":"1.3","status":200,"out":12,)"
      R"("total_ms":1.234,"upstream_ms":0.900,"agent":"curl/8"})"
      "\n");
}

TEST(AccessLine, TellsWhatIsNotAsUsual) {
  AccessRecord record = sample();
  record.region = "fra";
  record.version = HttpVersion::Http10;
  record.fault = Fault::UpstreamReset;
  record.bytes_in = 7;
  record.attempts = 2;
  const std::string line = line_of(record);
  for (const char* field : {R"("edge":"gru","region":"fra")", R"("http":"1.0")",
                            R"("fault":"upstream_reset","in":7)", R"("attempts":2)"}) {
    EXPECT_NE(line.find(field), std::string::npos) << field << " in " << line;
  }
  record.attempts = 0;
  EXPECT_NE(line_of(record).find(R"("attempts":0)"), std::string::npos) << "no machine was asked";
}

TEST(AccessLine, TellsTheWakesTimeline) {
  AccessRecord record = sample();
  record.waited = true;
  record.queue_us = 350'020;
  record.wake = {.queue_us = 15, .start_us = 2'000, .ready_us = 350'000, .first_byte_us = 350'400};
  record.fault = Fault::UpstreamReset;
  const std::string line = line_of(record);
  EXPECT_NE(line.find(R"("wake":{"queue_ms":0.015,"start_ms":2.000,"ready_ms":350.000,)"
                      R"("first_byte_ms":350.400})"),
            std::string::npos);
  EXPECT_NE(line.find(R"("fault":"upstream_reset")"), std::string::npos);
  EXPECT_NE(line.find(R"("queue_ms":350.020)"), std::string::npos);
}

TEST(AccessLine, CannotBeForgedByARequest) {
  const std::string line = line_of(sample("/\"}\n{\"status\":200,\"x\":\"\x1b[2J"));
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  EXPECT_EQ(line.find('\x1b'), std::string::npos);
  EXPECT_NE(line.find(R"(/\"}\n{\"status\")"), std::string::npos);
}

struct Ring {
  explicit Ring(std::size_t capacity = limits::kLogRingBytes) : ring(dropped, capacity) {}
  Counter dropped;
  AccessRing ring;
};

TEST(AccessRing, GivesBackWhatWasPushed) {
  Ring r;
  AccessRecord record = sample();
  record.waited = true;
  record.wake.ready_us = 77;
  r.ring.push(record);
  AccessRecord out;
  ASSERT_TRUE(r.ring.front(out));
  EXPECT_EQ(line_of(out), line_of(record));
  r.ring.pop();
  EXPECT_FALSE(r.ring.front(out));
}

TEST(AccessRing, CutsALongTargetAndMarksIt) {
  Ring r;
  const std::string target = "/" + std::string(8000, 'a');
  r.ring.push(sample(target));
  AccessRecord out;
  ASSERT_TRUE(r.ring.front(out));
  EXPECT_TRUE(out.target_cut);
  EXPECT_LT(out.target.size(), limits::kLogRecordBytes);
  EXPECT_GT(out.target.size(), 3000U);
  EXPECT_NE(line_of(out).find(R"("target_cut":true)"), std::string::npos);
}

TEST(AccessRing, KeepsEveryRecordWithinItsBound) {
  Ring r(4 * limits::kLogRecordBytes);
  AccessRecord record = sample();
  const std::string huge(100'000, 'x');
  for (auto text :
       {&AccessRecord::request_id, &AccessRecord::app, &AccessRecord::machine,
        &AccessRecord::region, &AccessRecord::client, &AccessRecord::method, &AccessRecord::host,
        &AccessRecord::target, &AccessRecord::user_agent, &AccessRecord::referer}) {
    record.*text = huge;
  }
  for (int i = 0; i < 4; ++i) r.ring.push(record);
  EXPECT_EQ(r.ring.dropped(), 0U) << "four records of at most kLogRecordBytes";
}

TEST(AccessRing, DropsTheNewRecordWhenFullAndCountsIt) {
  Ring r(4 * limits::kLogRecordBytes);
  int pushed = 0;
  while (r.ring.dropped() == 0) {
    r.ring.push(sample("/" + std::to_string(pushed++)));
    ASSERT_LT(pushed, 10'000);
  }
  AccessRecord out;
  ASSERT_TRUE(r.ring.front(out));
  EXPECT_EQ(out.target, "/0") << "the oldest stays";
  r.ring.pop();
  ASSERT_TRUE(r.ring.front(out));
  r.ring.pop();
  r.ring.push(sample("/again"));
  EXPECT_EQ(r.dropped.read(), 1U) << "there was room again";
}

TEST(AccessRing, KeepsOrderOverManyTurnsOfTheRing) {
  Ring r(4 * limits::kLogRecordBytes);
  std::size_t next_in = 0;
  std::size_t next_out = 0;
  for (int round = 0; round < 2000; ++round) {
    for (int i = 0; i < 7; ++i) {
      std::string target = "/" + std::to_string(next_in++);
      const std::string number = target.substr(1);
      target += '?' + std::string(next_in * 37 % 500, 'q');
      AccessRecord record = sample(target);
      record.bytes_in = next_in - 1;
      r.ring.push(record);
    }
    AccessRecord out;
    while (r.ring.front(out)) {
      ASSERT_EQ(out.bytes_in, next_out);
      ASSERT_TRUE(out.target.starts_with("/" + std::to_string(next_out) + "?"));
      r.ring.pop();
      ++next_out;
    }
  }
  EXPECT_EQ(next_out, next_in);
  EXPECT_EQ(r.ring.dropped(), 0U);
}

TEST(AccessRing, LosesNothingUncountedBetweenTwoThreads) {
  Ring r(4 * limits::kLogRecordBytes);
  constexpr std::uint64_t kRecords = 100'000;
  std::atomic<bool> done{false};
  std::thread worker([&] {
    for (std::uint64_t i = 0; i < kRecords; ++i) {
      AccessRecord record = sample();
      record.bytes_in = i;
      r.ring.push(record);
    }
    done = true;
  });
  std::uint64_t read = 0;
  std::uint64_t last = 0;
  AccessRecord out;
  for (bool finishing = false;;) {
    if (r.ring.front(out)) {
      ASSERT_TRUE(read == 0 || out.bytes_in > last);
      ASSERT_EQ(out.host, "hello.app.dev");
      last = out.bytes_in;
      ++read;
      r.ring.pop();
    } else if (finishing) {
      break;
    } else {
      finishing = done;
    }
  }
  worker.join();
  EXPECT_EQ(read + r.ring.dropped(), kRecords);
}

}  // namespace
}  // namespace rooster::proxy
