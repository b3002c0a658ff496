// The counters. Each thread that counts has its own set (one writer, plain increments); the
// background thread reads them all and adds up. See core/write_metrics.hpp for the page that
// Prometheus reads.
#pragma once

#include "core/fault.hpp"
#include "core/ids.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace rooster {

/// Only goes up. One thread adds, any thread reads: a load and a store, no locked instruction.
class Counter {
 public:
  void add(std::uint64_t n = 1) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  std::uint64_t read() const noexcept { return value_.load(std::memory_order_relaxed); }
  void reset() noexcept { value_.store(0, std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// Goes up and down. One thread changes it, any thread reads.
class Gauge {
 public:
  void add(std::int64_t n = 1) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void set(std::int64_t n) noexcept { value_.store(n, std::memory_order_relaxed); }
  std::int64_t read() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> value_{0};
};

/// Upper bounds of the time histograms, in microseconds; one more bucket takes what is longer.
inline constexpr std::array<std::uint64_t, 14> kTimeBounds{
    500,     1'000,   2'500,   5'000,     10'000,    25'000,    50'000,
    100'000, 250'000, 500'000, 1'000'000, 2'500'000, 5'000'000, 10'000'000};

/// How long something took, in a few buckets.
class TimeHistogram {
 public:
  void add(std::chrono::microseconds took) noexcept {
    const auto us = took.count() < 0 ? 0 : static_cast<std::uint64_t>(took.count());
    std::size_t bucket = 0;
    while (bucket < kTimeBounds.size() && us > kTimeBounds[bucket]) ++bucket;
    buckets_[bucket].add();
    sum_us_.add(us);
  }
  /// Not cumulative; the last bucket has no bound.
  std::uint64_t bucket(std::size_t index) const noexcept { return buckets_[index].read(); }
  std::uint64_t sum_microseconds() const noexcept { return sum_us_.read(); }
  void reset() noexcept;

  static constexpr std::size_t kBuckets = kTimeBounds.size() + 1;

 private:
  std::array<Counter, kBuckets> buckets_;
  Counter sum_us_;
};

/// Statuses that have a counter of their own in an app's series; the rest count in their class
/// ("2xx").
inline constexpr std::array<std::uint16_t, 32> kCountedStatuses{
    100, 101, 103, 200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401,
    403, 404, 405, 408, 409, 410, 413, 415, 421, 422, 429, 499, 500, 502, 503, 504};
inline constexpr std::size_t kStatusSlots = kCountedStatuses.size() + 5;

/// The slot of a status: its index in kCountedStatuses, or 32 + (class - 1).
std::size_t status_slot(std::uint16_t status) noexcept;

/// What a worker counts of one app.
struct AppCounters {
  std::array<Counter, kStatusSlots> responses;
  Counter response_us;  ///< sum of response times, microseconds
  Counter bytes_in;
  Counter bytes_out;
  Counter retries;
  Counter refusals;   ///< exchanges that ended with a Fault
  Counter holds;      ///< exchanges that waited for a wake
  Counter hold_us;    ///< sum of their waiting, microseconds
  Gauge concurrency;  ///< exchanges and tunnels now
  Gauge waiting;      ///< at the wake gate now

  bool is_idle() const noexcept { return concurrency.read() == 0 && waiting.read() == 0; }
  void reset() noexcept;
};

/// What the control thread counts of one app.
struct AppLifecycle {
  Counter wakes;  ///< wakes that ended with a ready machine
  Counter failed_wakes;
  Counter starts;
  Counter stops;
  Counter suspends;
  Counter exits;            ///< machines that ended by themselves
  TimeHistogram wake_time;  ///< from the wake command to ready
  Gauge machines_up;        ///< machines that run now

  bool is_idle() const noexcept { return machines_up.read() == 0; }
  void reset() noexcept;
};

/// Coarse time for "seen in the last hour": seconds of CLOCK_MONOTONIC. The owner of a table passes
/// it in.
using MetricSeconds = std::uint32_t;
inline constexpr MetricSeconds kSeriesLifetime = 3600;

/// The series of the apps that one thread has seen: created at first use, reused for another app
/// once this one has not been seen for an hour. One writer, any reader; no lock. App ids are never
/// given to another name.
template <class Series>
class AppSeries {
 public:
  /// So many series at most; further apps share `overflow()`.
  static constexpr std::size_t kMaxSeries = 32'768;
  /// Ids from this on share `overflow()` too.
  static constexpr std::size_t kMaxApps = std::size_t{1} << 20;

  AppSeries();
  ~AppSeries();
  AppSeries(const AppSeries&) = delete;
  AppSeries& operator=(const AppSeries&) = delete;

  /// The app's series, marked as seen. Owner thread only. The reference holds until the series is
  /// an hour old and idle (Series::is_idle): an exchange that raised `concurrency` may keep it,
  /// others ask again.
  Series& of(AppId app, MetricSeconds now) {
    if (app.value < kMaxApps) {
      if (Chunk* chunk = chunks_[app.value / kChunk].load(std::memory_order_relaxed)) {
        if (Entry* entry = (*chunk)[app.value % kChunk].load(std::memory_order_relaxed)) {
          entry->seen.store(now, std::memory_order_relaxed);
          return entry->series;
        }
      }
    }
    return create(app, now);
  }

  /// Calls `visit(AppId, const Series&)` for every app seen since `oldest` or not idle. Any thread.
  template <class Visit>
  void for_each(MetricSeconds oldest, Visit visit) const;

  const Series& overflow() const { return overflow_; }

 private:
  static constexpr std::size_t kChunk = 1024;
  struct alignas(64) Entry {
    Series series;
    std::atomic<MetricSeconds> seen{0};
    std::atomic<std::uint32_t> app{0};
  };
  using Chunk = std::array<std::atomic<Entry*>, kChunk>;

  Series& create(AppId app, MetricSeconds now);
  Entry* recycle(MetricSeconds now);

  std::array<std::atomic<Chunk*>, kMaxApps / kChunk> chunks_{};
  std::vector<std::unique_ptr<Chunk>> owned_chunks_;
  std::vector<std::unique_ptr<Entry>> entries_;
  std::size_t next_recycled_ = 0;
  Series overflow_;
};

/// TLS versions as they are counted and logged.
enum class TlsVersion : std::uint8_t { None, Tls12, Tls13 };

/// Everything one worker counts. Only that worker's thread writes.
struct alignas(128) WorkerMetrics {
  std::array<Counter, 500> responses;          ///< by status - 100
  std::array<TimeHistogram, 5> response_time;  ///< by class, 1xx first
  std::array<Counter, kFaultCount> faults;
  Counter bytes_in;   ///< from clients
  Counter bytes_out;  ///< to clients

  Counter connections_accepted;
  Counter connections_closed;
  Counter connections_refused;            ///< over a cap, or no descriptor
  std::array<Counter, 3> tls_handshakes;  ///< by TlsVersion
  Counter tls_resumed;
  Counter tls_errors;
  TimeHistogram tls_time;

  Gauge waiting;  ///< exchanges held at the gate
  Gauge waiting_bytes;
  Counter retries;
  Counter redirects;  ///< 301 of force_https
  Counter pool_hits;
  Counter pool_misses;
  Counter upstream_connects;
  Counter upstream_connect_errors;
  TimeHistogram upstream_connect_time;
  Gauge upstream_open;
  Counter tcp_sessions;  ///< raw TCP connections that have ended, whatever became of them
  Gauge tcp_open;
  Counter access_log_dropped;
  AppSeries<AppCounters> apps;

  /// One finished exchange. `app` is null where no route was found. A handful of plain increments.
  void count_exchange(AppCounters* app, std::uint16_t status, Fault fault,
                      std::chrono::microseconds took, std::uint64_t in, std::uint64_t out) noexcept;
  /// One raw TCP session that has ended.
  void count_session(AppCounters* app, Fault fault, std::uint64_t in, std::uint64_t out) noexcept;
};

/// What the control thread counts.
struct alignas(128) ControlMetrics {
  Counter reloads;
  Counter failed_reloads;
  Gauge apps_loaded;
  Gauge machines_started;
  Counter prewakes_wasted;
  Counter output_dropped;  ///< bytes of the apps' output that came faster than they could be kept
  AppSeries<AppLifecycle> apps;
};

/// All the counters of a node. Built once with the number of workers; the threads get references.
class Metrics {
 public:
  explicit Metrics(std::size_t workers);

  WorkerMetrics& worker(WorkerId id) { return *workers_[id.value]; }
  const WorkerMetrics& worker(WorkerId id) const { return *workers_[id.value]; }
  ControlMetrics& control() { return *control_; }
  const ControlMetrics& control() const { return *control_; }
  std::size_t workers() const { return workers_.size(); }

 private:
  std::vector<std::unique_ptr<WorkerMetrics>> workers_;
  std::unique_ptr<ControlMetrics> control_;
};

/// `now` for AppSeries::of.
MetricSeconds metric_seconds(std::chrono::steady_clock::time_point now);

template <class Series>
template <class Visit>
void AppSeries<Series>::for_each(MetricSeconds oldest, Visit visit) const {
  for (std::size_t at = 0; at < chunks_.size(); ++at) {
    const Chunk* chunk = chunks_[at].load(std::memory_order_acquire);
    if (chunk == nullptr) continue;
    for (std::size_t i = 0; i < kChunk; ++i) {
      const Entry* entry = (*chunk)[i].load(std::memory_order_acquire);
      if (entry == nullptr) continue;
      if (entry->seen.load(std::memory_order_acquire) < oldest && entry->series.is_idle()) continue;
      // An entry that was just given to another app is visited there.
      const AppId app{static_cast<std::uint32_t>(at * kChunk + i)};
      if (entry->app.load(std::memory_order_relaxed) == app.value) visit(app, entry->series);
    }
  }
}

}  // namespace rooster
