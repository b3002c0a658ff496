#include "core/metrics.hpp"

#include "core/write_metrics.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <ctime>
#include <map>
#include <string>
#include <thread>

namespace rooster {
namespace {

using namespace std::chrono_literals;

constexpr MetricSeconds kNow = 100'000;

std::string page_of(const Metrics& metrics, MetricSeconds now, const AppNameOf& name) {
  std::string text;
  MetricsPage page([&text](std::string_view piece) { text += piece; });
  write_metrics(page, metrics, "gru", now, name);
  page.flush();
  return text;
}

std::string name_by_number(AppId app) {
  return "app-" + std::to_string(app.value);
}

// Names that outlive the page.
AppNameOf names() {
  return [kept = std::make_shared<std::map<std::uint32_t, std::string>>()](AppId app) {
    return std::string_view(kept->try_emplace(app.value, name_by_number(app)).first->second);
  };
}

bool has_line(const std::string& page, const std::string& line) {
  return ("\n" + page).find("\n" + line + "\n") != std::string::npos;
}

TEST(WorkerMetrics, CountsAnExchangeForTheNodeAndItsApp) {
  Metrics metrics(2);
  for (std::uint8_t i = 0; i < 2; ++i) {
    WorkerMetrics& worker = metrics.worker(WorkerId{i});
    AppCounters& app = worker.apps.of(AppId{7}, kNow);
    worker.count_exchange(&app, 200, Fault::None, 700us, 10, 1000);
    worker.count_exchange(&app, 504, Fault::WakeTimeout, 60s, 10, 20);
    worker.count_exchange(nullptr, 404, Fault::NoRoute, 20us, 0, 5);
  }
  const std::string page = page_of(metrics, kNow, names());
  EXPECT_TRUE(has_line(page, R"(fly_edge_http_responses_count{region="gru",status="200"} 2)"));
  EXPECT_TRUE(has_line(page, R"(fly_edge_http_responses_count{region="gru",status="404"} 2)"));
  EXPECT_TRUE(
      has_line(page, R"(fly_app_http_responses_count{app="app-7",region="gru",status="504"} 2)"));
  EXPECT_TRUE(has_line(page, R"(rooster_faults_total{fault="wake_timeout",region="gru"} 2)"));
  EXPECT_TRUE(has_line(page, R"(fly_edge_data_out{region="gru"} 2050)"));
  EXPECT_TRUE(
      has_line(page, R"(rooster_app_response_seconds_total{app="app-7",region="gru"} 120.001400)"));
  EXPECT_TRUE(has_line(
      page,
      R"(fly_edge_http_response_time_seconds_bucket{region="gru",status="2xx",le="0.0005"} 0)"));
  EXPECT_TRUE(has_line(
      page,
      R"(fly_edge_http_response_time_seconds_bucket{region="gru",status="2xx",le="0.001"} 2)"));
  EXPECT_TRUE(has_line(
      page, R"(fly_edge_http_response_time_seconds_bucket{region="gru",status="5xx",le="10"} 0)"));
  EXPECT_TRUE(
      has_line(page, R"(fly_edge_http_response_time_seconds_count{region="gru",status="5xx"} 2)"));
}

TEST(WorkerMetrics, CountsARareStatusInItsClass) {
  EXPECT_EQ(status_slot(418), kCountedStatuses.size() + 3);
  EXPECT_EQ(status_slot(200), 3U);
  EXPECT_EQ(status_slot(99), status_slot(100)) << "never out of the array";
  EXPECT_EQ(status_slot(9999), kCountedStatuses.size() + 4);
}

TEST(AppSeries, FindsTheSameSeriesAgain) {
  AppSeries<AppCounters> series;
  AppCounters& first = series.of(AppId{5}, kNow);
  series.of(AppId{900'000}, kNow);
  EXPECT_EQ(&series.of(AppId{5}, kNow + 1), &first);
}

TEST(AppSeries, ShowsOnlyAppsSeenInTheLastHour) {
  AppSeries<AppCounters> series;
  series.of(AppId{1}, kNow);
  series.of(AppId{2}, kNow + 4000);
  std::vector<std::uint32_t> seen;
  series.for_each(kNow + 4000 - kSeriesLifetime,
                  [&](AppId app, const AppCounters&) { seen.push_back(app.value); });
  EXPECT_EQ(seen, std::vector<std::uint32_t>{2});
}

TEST(AppSeries, ShowsWhatIsNotIdleHoweverLongAgoItBegan) {
  AppSeries<AppCounters> series;
  series.of(AppId{1}, kNow).concurrency.add();  // a WebSocket
  std::size_t seen = 0;
  series.for_each(kNow + 10 * kSeriesLifetime, [&](AppId, const AppCounters&) { ++seen; });
  EXPECT_EQ(seen, 1U);
}

TEST(AppSeries, IsBoundedAndSharesOneSeriesBeyond) {
  const auto series = std::make_unique<AppSeries<AppLifecycle>>();
  constexpr auto kMax = static_cast<std::uint32_t>(AppSeries<AppLifecycle>::kMaxSeries);
  for (std::uint32_t i = 0; i < kMax; ++i) series->of(AppId{i}, kNow);
  EXPECT_EQ(&series->of(AppId{kMax}, kNow), &series->overflow());
  EXPECT_EQ(&series->of(AppId{0xFFFFFFFF}, kNow), &series->overflow());
}

TEST(AppSeries, GivesTheSeriesOfALongUnseenAppToANewOne) {
  const auto series = std::make_unique<AppSeries<AppCounters>>();
  constexpr auto kMax = static_cast<std::uint32_t>(AppSeries<AppCounters>::kMaxSeries);
  for (std::uint32_t i = 0; i < kMax; ++i) series->of(AppId{i}, kNow);
  series->of(AppId{0}, kNow).concurrency.add(1);  // a WebSocket keeps this one
  series->of(AppId{1}, kNow).holds.add(9);

  const MetricSeconds later = kNow + 2 * kSeriesLifetime;
  AppCounters& fresh = series->of(AppId{kMax}, later);
  EXPECT_NE(&fresh, &series->overflow());
  EXPECT_EQ(fresh.holds.read(), 0U);
  EXPECT_EQ(series->of(AppId{0}, later).concurrency.read(), 1);
}

TEST(MetricsPage, EscapesLabelValues) {
  std::string text;
  MetricsPage page([&text](std::string_view piece) { text += piece; });
  page.family("x", "gauge", "help");
  page.sample({{"app", "a\\b\"c\nd"}}, std::int64_t{-3});
  page.flush();
  EXPECT_EQ(text, "# HELP x help\n# TYPE x gauge\nx{app=\"a\\\\b\\\"c\\nd\"} -3\n");
}

TEST(MetricsPage, LeavesOutAnAppThatIsGone) {
  Metrics metrics(1);
  metrics.worker(WorkerId{0}).apps.of(AppId{1}, kNow).holds.add();
  const std::string page = page_of(metrics, kNow, [](AppId) { return std::string_view(); });
  EXPECT_EQ(page.find("app="), std::string::npos);
}

TEST(MetricsPage, StaysSmallAndFastWithAThousandActiveAppsOfAHundredThousand) {
  Metrics metrics(4);
  for (std::uint32_t app = 0; app < 100'000; ++app) {
    const bool is_active = app % 100 == 0;
    if (app < 30'000 || is_active) {  // up to kMaxSeries are remembered
      const MetricSeconds seen = is_active ? kNow : kNow - kSeriesLifetime - 1;
      for (std::uint8_t i = 0; i < 4; ++i) {
        WorkerMetrics& worker = metrics.worker(WorkerId{i});
        AppCounters& counters = worker.apps.of(AppId{app}, seen);
        for (const std::uint16_t status :
             std::initializer_list<std::uint16_t>{200, 204, 404, 500, 503}) {
          worker.count_exchange(&counters, status, Fault::None, 3ms, 100, 1000);
        }
        counters.holds.add();
      }
      AppLifecycle& life = metrics.control().apps.of(AppId{app}, seen);
      life.wakes.add();
      life.wake_time.add(300ms);
    }
  }
  const AppNameOf name = names();
  page_of(metrics, kNow, name);  // names are made
  timespec before{};
  timespec after{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
  const std::string page = page_of(metrics, kNow, name);
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
  const double ms = static_cast<double>(after.tv_sec - before.tv_sec) * 1e3 +
                    static_cast<double>(after.tv_nsec - before.tv_nsec) / 1e6;
  RecordProperty("bytes", static_cast<int>(page.size()));
  RecordProperty("milliseconds", std::to_string(ms));
  EXPECT_LT(page.size(), 5'000'000U);
#if defined(NDEBUG) && !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
  EXPECT_LT(ms, 100.0);
#endif
  EXPECT_TRUE(has_line(page, R"(rooster_wakes_total{app="app-99900",region="gru"} 1)"));
}

TEST(AppSeries, IsReadWhileItsOwnerWrites) {
  Metrics metrics(1);
  std::atomic<bool> done{false};
  std::thread owner([&] {
    WorkerMetrics& worker = metrics.worker(WorkerId{0});
    for (std::uint32_t i = 0; i < 200'000; ++i) {
      AppCounters& app = worker.apps.of(AppId{i % 5000}, kNow);
      worker.count_exchange(&app, 200, Fault::None, 1ms, 1, 1);
    }
    done = true;
  });
  std::uint64_t last = 0;
  while (!done) {
    std::uint64_t sum = 0;
    metrics.worker(WorkerId{0}).apps.for_each(0, [&](AppId, const AppCounters& app) {
      sum += app.responses[status_slot(200)].read();
    });
    EXPECT_GE(sum, last);
    last = sum;
  }
  owner.join();
}

}  // namespace
}  // namespace rooster
