#include "core/write_metrics.hpp"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <vector>

namespace rooster {
namespace {

constexpr std::array<std::string_view, 5> kClasses{"1xx", "2xx", "3xx", "4xx", "5xx"};

struct HistogramSum {
  std::array<std::uint64_t, TimeHistogram::kBuckets> buckets{};
  std::uint64_t sum_us = 0;

  void add(const TimeHistogram& part) {
    for (std::size_t i = 0; i < buckets.size(); ++i) buckets[i] += part.bucket(i);
    sum_us += part.sum_microseconds();
  }
};

// One app, added up over the workers.
struct AppSum {
  std::string_view name;
  std::array<std::uint64_t, kStatusSlots> responses{};
  std::uint64_t response_us = 0, bytes_in = 0, bytes_out = 0, retries = 0, refusals = 0;
  std::uint64_t holds = 0, hold_us = 0;
  std::int64_t concurrency = 0, waiting = 0;

  void add(const AppCounters& part) {
    for (std::size_t i = 0; i < kStatusSlots; ++i) responses[i] += part.responses[i].read();
    response_us += part.response_us.read();
    bytes_in += part.bytes_in.read();
    bytes_out += part.bytes_out.read();
    retries += part.retries.read();
    refusals += part.refusals.read();
    holds += part.holds.read();
    hold_us += part.hold_us.read();
    concurrency += part.concurrency.read();
    waiting += part.waiting.read();
  }
};

struct Families {
  MetricsPage& page;
  const Metrics& metrics;
  std::string_view region;

  template <class Read>
  auto sum(Read read) const {
    decltype(read(metrics.worker(WorkerId{0}))) total{};
    for (std::size_t i = 0; i < metrics.workers(); ++i) {
      total += read(metrics.worker(WorkerId{static_cast<std::uint8_t>(i)}));
    }
    return total;
  }

  void counter(std::string_view name, std::string_view help, Counter WorkerMetrics::* member) {
    page.family(name, "counter", help);
    page.sample({{"region", region}},
                sum([&](const WorkerMetrics& worker) { return (worker.*member).read(); }));
  }

  void gauge(std::string_view name, std::string_view help, Gauge WorkerMetrics::* member) {
    page.family(name, "gauge", help);
    page.sample({{"region", region}},
                sum([&](const WorkerMetrics& worker) { return (worker.*member).read(); }));
  }

  void time(std::string_view name, std::string_view help, TimeHistogram WorkerMetrics::* member) {
    page.family(name, "histogram", help);
    HistogramSum total;
    for (std::size_t i = 0; i < metrics.workers(); ++i) {
      total.add(metrics.worker(WorkerId{static_cast<std::uint8_t>(i)}).*member);
    }
    page.histogram({{"region", region}}, total.buckets.data(), total.sum_us);
  }

  void responses();
  void faults();
  void connections();
  void upstreams();
  void log_drops();
  void control();
};

void Families::responses() {
  page.family("fly_edge_http_responses_count", "counter", "Responses sent to clients, by status.");
  for (std::size_t i = 0; i < 500; ++i) {
    const auto count = sum([i](const WorkerMetrics& worker) { return worker.responses[i].read(); });
    if (count != 0) page.sample({{"region", region}, {"status", std::to_string(100 + i)}}, count);
  }
  page.family("fly_edge_http_response_time_seconds", "histogram",
              "From the request head to the response's end, by class of status.");
  for (std::size_t i = 0; i < kClasses.size(); ++i) {
    HistogramSum total;
    for (std::size_t w = 0; w < metrics.workers(); ++w) {
      total.add(metrics.worker(WorkerId{static_cast<std::uint8_t>(w)}).response_time[i]);
    }
    if (std::ranges::any_of(total.buckets, [](std::uint64_t n) { return n != 0; })) {
      page.histogram({{"region", region}, {"status", kClasses[i]}}, total.buckets.data(),
                     total.sum_us);
    }
  }
  counter("fly_edge_data_in", "Bytes received from clients.", &WorkerMetrics::bytes_in);
  counter("fly_edge_data_out", "Bytes sent to clients.", &WorkerMetrics::bytes_out);
  counter("rooster_redirects_total", "301 answers of force_https.", &WorkerMetrics::redirects);
}

void Families::faults() {
  page.family("rooster_faults_total", "counter", "Exchanges refused, retried or cut, by reason.");
  for (std::size_t i = 1; i < kFaultCount; ++i) {
    const auto count = sum([i](const WorkerMetrics& worker) { return worker.faults[i].read(); });
    if (count == 0) continue;
    page.sample({{"fault", describe(static_cast<Fault>(i)).token}, {"region", region}}, count);
  }
}

void Families::connections() {
  counter("fly_edge_tcp_connects_count", "Client connections accepted.",
          &WorkerMetrics::connections_accepted);
  counter("fly_edge_tcp_disconnects_count", "Client connections closed.",
          &WorkerMetrics::connections_closed);
  counter("rooster_connections_refused_total", "Client connections over a cap.",
          &WorkerMetrics::connections_refused);
  page.family("rooster_tls_handshakes_total", "counter", "TLS handshakes completed.");
  for (const auto& [version, label] :
       {std::pair{TlsVersion::Tls12, "1.2"}, {TlsVersion::Tls13, "1.3"}}) {
    page.sample({{"region", region}, {"version", label}},
                sum([v = version](const WorkerMetrics& worker) {
                  return worker.tls_handshakes[static_cast<std::size_t>(v)].read();
                }));
  }
  counter("rooster_tls_resumed_total", "TLS handshakes resumed by a ticket.",
          &WorkerMetrics::tls_resumed);
  counter("fly_edge_tls_handshake_errors", "TLS handshakes that failed.",
          &WorkerMetrics::tls_errors);
  time("fly_edge_tls_handshake_time_seconds", "Time of completed handshakes.",
       &WorkerMetrics::tls_time);
  gauge("rooster_waiting", "Exchanges held for a wake or a slot.", &WorkerMetrics::waiting);
  gauge("rooster_waiting_bytes", "Bytes held with them.", &WorkerMetrics::waiting_bytes);
}

void Families::upstreams() {
  counter("rooster_retries_total", "Attempts after the first.", &WorkerMetrics::retries);
  counter("rooster_pool_hits_total", "Exchanges on a pooled connection.",
          &WorkerMetrics::pool_hits);
  counter("rooster_pool_misses_total", "Exchanges that opened a connection.",
          &WorkerMetrics::pool_misses);
  counter("fly_app_tcp_connects_count", "Connections opened to apps.",
          &WorkerMetrics::upstream_connects);
  counter("rooster_upstream_connect_errors_total", "Connections to apps that failed.",
          &WorkerMetrics::upstream_connect_errors);
  time("fly_app_connect_time_seconds", "Time to connect to an app.",
       &WorkerMetrics::upstream_connect_time);
  gauge("rooster_upstream_connections", "Open connections to apps.", &WorkerMetrics::upstream_open);
  counter("rooster_tcp_sessions_total", "Raw TCP connections that have ended.",
          &WorkerMetrics::tcp_sessions);
  gauge("rooster_tcp_open", "Raw TCP connections now.", &WorkerMetrics::tcp_open);
}

void Families::log_drops() {
  page.family("rooster_access_log_dropped_total", "counter",
              "Access log records that found the ring full.");
  for (std::size_t i = 0; i < metrics.workers(); ++i) {
    page.sample({{"region", region}, {"worker", std::to_string(i)}},
                metrics.worker(WorkerId{static_cast<std::uint8_t>(i)}).access_log_dropped.read());
  }
}

void Families::control() {
  const ControlMetrics& control = metrics.control();
  page.family("rooster_reloads_total", "counter", "Reloads, by outcome.");
  page.sample({{"outcome", "done"}, {"region", region}}, control.reloads.read());
  page.sample({{"outcome", "refused"}, {"region", region}}, control.failed_reloads.read());
  page.family("rooster_apps", "gauge", "Apps loaded.");
  page.sample({{"region", region}}, control.apps_loaded.read());
  page.family("rooster_machines_started", "gauge", "Machines that run now.");
  page.sample({{"region", region}}, control.machines_started.read());
  page.family("rooster_prewakes_wasted_total", "counter", "Wakes by SNI without a request.");
  page.sample({{"region", region}}, control.prewakes_wasted.read());
  page.family("rooster_output_dropped_bytes_total", "counter",
              "Output of apps that came faster than it could be kept.");
  page.sample({{"region", region}}, control.output_dropped.read());
}

std::string status_label(std::size_t slot) {
  return slot < kCountedStatuses.size() ? std::to_string(kCountedStatuses[slot])
                                        : std::string(kClasses[slot - kCountedStatuses.size()]);
}

std::vector<AppSum> sum_apps(const Metrics& metrics, MetricSeconds oldest,
                             const AppNameOf& app_name) {
  std::vector<AppSum> sums;
  std::unordered_map<std::uint32_t, std::size_t> where;
  for (std::size_t i = 0; i < metrics.workers(); ++i) {
    const auto visit = [&](AppId app, const AppCounters& part) {
      const auto [found, is_new] = where.try_emplace(app.value, sums.size());
      if (is_new) sums.push_back({.name = app_name(app)});
      sums[found->second].add(part);
    };
    metrics.worker(WorkerId{static_cast<std::uint8_t>(i)}).apps.for_each(oldest, visit);
  }
  std::erase_if(sums, [](const AppSum& app) { return app.name.empty(); });
  AppSum other{.name = "(other)"};
  for (std::size_t i = 0; i < metrics.workers(); ++i) {
    other.add(metrics.worker(WorkerId{static_cast<std::uint8_t>(i)}).apps.overflow());
  }
  if (std::ranges::any_of(other.responses, [](std::uint64_t n) { return n != 0; })) {
    sums.push_back(other);
  }
  return sums;
}

void write_app_traffic(MetricsPage& page, std::string_view region,
                       const std::vector<AppSum>& apps) {
  const auto each = [&](std::string_view name, std::string_view type, std::string_view help,
                        auto read) {
    page.family(name, type, help);
    for (const AppSum& app : apps) {
      if (const auto value = read(app); value != 0 || type == "gauge") {
        page.sample({{"app", app.name}, {"region", region}}, value);
      }
    }
  };
  page.family("fly_app_http_responses_count", "counter", "Responses of an app, by status.");
  for (const AppSum& app : apps) {
    for (std::size_t slot = 0; slot < kStatusSlots; ++slot) {
      if (app.responses[slot] == 0) continue;
      page.sample({{"app", app.name}, {"region", region}, {"status", status_label(slot)}},
                  app.responses[slot]);
    }
  }
  page.family("rooster_app_response_seconds_total", "counter", "Sum of an app's response times.");
  for (const AppSum& app : apps) {
    page.sample_seconds({{"app", app.name}, {"region", region}}, app.response_us);
  }
  each("rooster_app_data_in", "counter", "Request bytes of an app.",
       [](const AppSum& app) { return app.bytes_in; });
  each("rooster_app_data_out", "counter", "Response bytes of an app.",
       [](const AppSum& app) { return app.bytes_out; });
  each("fly_app_concurrency", "gauge", "Exchanges and tunnels of an app now.",
       [](const AppSum& app) { return app.concurrency; });
  each("rooster_app_waiting", "gauge", "Exchanges held for an app now.",
       [](const AppSum& app) { return app.waiting; });
  each("rooster_holds_total", "counter", "Exchanges that were held for an app.",
       [](const AppSum& app) { return app.holds; });
  page.family("rooster_hold_seconds_total", "counter", "Sum of the time they were held.");
  for (const AppSum& app : apps) {
    if (app.holds == 0) continue;
    page.sample_seconds({{"app", app.name}, {"region", region}}, app.hold_us);
  }
  each("rooster_app_retries_total", "counter", "Attempts after the first, of an app.",
       [](const AppSum& app) { return app.retries; });
  each("rooster_app_faults_total", "counter", "Exchanges of an app that ended with a fault.",
       [](const AppSum& app) { return app.refusals; });
}

struct NamedLifecycle {
  std::string_view name;
  const AppLifecycle* series;
};

void write_app_lifecycle(MetricsPage& page, std::string_view region,
                         const std::vector<NamedLifecycle>& apps) {
  const auto each = [&](std::string_view name, std::string_view help,
                        Counter AppLifecycle::* member) {
    page.family(name, "counter", help);
    for (const auto& app : apps) {
      page.sample({{"app", app.name}, {"region", region}}, (app.series->*member).read());
    }
  };
  each("rooster_wakes_total", "Wakes that ended with a ready machine.", &AppLifecycle::wakes);
  each("rooster_failed_wakes_total", "Wakes that failed.", &AppLifecycle::failed_wakes);
  each("rooster_starts_total", "Machines started.", &AppLifecycle::starts);
  each("rooster_stops_total", "Machines stopped.", &AppLifecycle::stops);
  each("rooster_suspends_total", "Machines suspended.", &AppLifecycle::suspends);
  each("rooster_exits_total", "Machines that ended by themselves.", &AppLifecycle::exits);
  page.family("fly_instance_up", "gauge", "Machines of an app that run now.");
  for (const auto& app : apps) {
    page.sample({{"app", app.name}, {"region", region}}, app.series->machines_up.read());
  }
  page.family("rooster_wake_seconds", "histogram", "From the wake's order to a ready machine.");
  for (const auto& app : apps) {
    HistogramSum total;
    total.add(app.series->wake_time);
    if (std::ranges::any_of(total.buckets, [](std::uint64_t n) { return n != 0; })) {
      page.histogram({{"app", app.name}, {"region", region}}, total.buckets.data(), total.sum_us);
    }
  }
}

}  // namespace

void write_metrics(MetricsPage& page, const Metrics& metrics, std::string_view region,
                   MetricSeconds now, const AppNameOf& app_name) {
  Families families{page, metrics, region};
  families.responses();
  families.faults();
  families.connections();
  families.upstreams();
  families.log_drops();
  families.control();

  const MetricSeconds oldest = now - kSeriesLifetime;
  write_app_traffic(page, region, sum_apps(metrics, oldest, app_name));
  std::vector<NamedLifecycle> lifecycles;
  metrics.control().apps.for_each(oldest, [&](AppId app, const AppLifecycle& series) {
    if (const std::string_view name = app_name(app); !name.empty()) {
      lifecycles.push_back({name, &series});
    }
  });
  write_app_lifecycle(page, region, lifecycles);
}

}  // namespace rooster
