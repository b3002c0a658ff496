#include "core/metrics.hpp"

namespace rooster {
namespace {

// Slot of each status from 100 to 599, so that counting costs one load.
constexpr std::array<std::uint8_t, 500> kSlots = [] {
  std::array<std::uint8_t, 500> slots{};
  for (std::size_t i = 0; i < slots.size(); ++i) {
    slots[i] = static_cast<std::uint8_t>(kCountedStatuses.size() + i / 100);
  }
  for (std::size_t i = 0; i < kCountedStatuses.size(); ++i) {
    slots[kCountedStatuses[i] - 100U] = static_cast<std::uint8_t>(i);
  }
  return slots;
}();

// A status outside 100..599 can only be a mistake of ours: it counts as the class's last.
constexpr std::size_t status_index(std::uint16_t status) {
  return status < 100 ? 0 : status > 599 ? 499 : status - 100U;
}

template <class Range>
void reset_all(Range& counters) noexcept {
  for (auto& counter : counters) counter.reset();
}

}  // namespace

void TimeHistogram::reset() noexcept {
  reset_all(buckets_);
  sum_us_.reset();
}

std::size_t status_slot(std::uint16_t status) noexcept {
  return kSlots[status_index(status)];
}

void AppCounters::reset() noexcept {
  reset_all(responses);
  for (Counter* counter :
       {&response_us, &bytes_in, &bytes_out, &retries, &refusals, &holds, &hold_us}) {
    counter->reset();
  }
  concurrency.set(0);
  waiting.set(0);
}

void AppLifecycle::reset() noexcept {
  for (Counter* counter : {&wakes, &failed_wakes, &starts, &stops, &suspends, &exits}) {
    counter->reset();
  }
  wake_time.reset();
  machines_up.set(0);
}

template <class Series>
AppSeries<Series>::AppSeries() = default;

template <class Series>
AppSeries<Series>::~AppSeries() = default;

template <class Series>
auto AppSeries<Series>::recycle(MetricSeconds now) -> Entry* {
  // A bounded look: with all series in use each new app would else walk the whole list.
  constexpr std::size_t kLookAt = 64;
  for (std::size_t i = 0; i < kLookAt && i < entries_.size(); ++i) {
    Entry& entry = *entries_[next_recycled_];
    next_recycled_ = (next_recycled_ + 1) % entries_.size();
    // Twice the lifetime: no reader that found it within its hour still looks at it.
    const MetricSeconds seen = entry.seen.load(std::memory_order_relaxed);
    if (now - seen < 2 * kSeriesLifetime || !entry.series.is_idle()) continue;
    const std::uint32_t old = entry.app.load(std::memory_order_relaxed);
    Chunk& chunk = *chunks_[old / kChunk].load(std::memory_order_relaxed);
    chunk[old % kChunk].store(nullptr, std::memory_order_relaxed);
    entry.series.reset();
    return &entry;
  }
  return nullptr;
}

template <class Series>
Series& AppSeries<Series>::create(AppId app, MetricSeconds now) {
  if (app.value >= kMaxApps) return overflow_;
  Entry* entry = nullptr;
  if (entries_.size() < kMaxSeries) {
    entry = entries_.emplace_back(std::make_unique<Entry>()).get();
  } else {
    entry = recycle(now);
    if (entry == nullptr) return overflow_;
  }
  entry->app.store(app.value, std::memory_order_relaxed);
  entry->seen.store(now, std::memory_order_release);

  auto& slot = chunks_[app.value / kChunk];
  Chunk* chunk = slot.load(std::memory_order_relaxed);
  if (chunk == nullptr) {
    chunk = owned_chunks_.emplace_back(std::make_unique<Chunk>()).get();
    slot.store(chunk, std::memory_order_release);
  }
  (*chunk)[app.value % kChunk].store(entry, std::memory_order_release);
  return entry->series;
}

template class AppSeries<AppCounters>;
template class AppSeries<AppLifecycle>;

void WorkerMetrics::count_exchange(AppCounters* app, std::uint16_t status, Fault fault,
                                   std::chrono::microseconds took, std::uint64_t in,
                                   std::uint64_t out) noexcept {
  const std::size_t index = status_index(status);
  responses[index].add();
  response_time[index / 100].add(took);
  bytes_in.add(in);
  bytes_out.add(out);
  if (fault != Fault::None) faults[static_cast<std::size_t>(fault)].add();
  if (app == nullptr) return;
  app->responses[kSlots[index]].add();
  app->response_us.add(took.count() < 0 ? 0 : static_cast<std::uint64_t>(took.count()));
  app->bytes_in.add(in);
  app->bytes_out.add(out);
  if (fault != Fault::None) app->refusals.add();
}

void WorkerMetrics::count_session(AppCounters* app, Fault fault, std::uint64_t in,
                                  std::uint64_t out) noexcept {
  tcp_sessions.add();
  bytes_in.add(in);
  bytes_out.add(out);
  if (fault != Fault::None) faults[static_cast<std::size_t>(fault)].add();
  if (app == nullptr) return;
  app->bytes_in.add(in);
  app->bytes_out.add(out);
  if (fault != Fault::None) app->refusals.add();
}

Metrics::Metrics(std::size_t workers) : control_(std::make_unique<ControlMetrics>()) {
  for (std::size_t i = 0; i < workers; ++i) {
    workers_.push_back(std::make_unique<WorkerMetrics>());
  }
}

MetricSeconds metric_seconds(std::chrono::steady_clock::time_point now) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(now.time_since_epoch()).count();
  // Never 0, so that "seen at 0" is older than everything only when it was never seen.
  return static_cast<MetricSeconds>(seconds) + 2 * kSeriesLifetime;
}

}  // namespace rooster
