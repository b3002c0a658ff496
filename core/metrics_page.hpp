// The Prometheus text page (exposition format 0.0.4), written in pieces so that its size costs no
// memory.
#pragma once

#include "core/metrics.hpp"

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace rooster {

/// Takes the next piece of the page.
using PageSink = std::function<void(std::string_view)>;
using MetricLabel = std::pair<std::string_view, std::string_view>;

/// Writes samples family by family. Label values are escaped; names are the caller's constants.
class MetricsPage {
 public:
  explicit MetricsPage(PageSink sink) : sink_(std::move(sink)) {}
  ~MetricsPage() { flush(); }
  MetricsPage(const MetricsPage&) = delete;
  MetricsPage& operator=(const MetricsPage&) = delete;

  /// `type` is "counter", "gauge" or "histogram".
  void family(std::string_view name, std::string_view type, std::string_view help);
  void sample(std::initializer_list<MetricLabel> labels, std::uint64_t value);
  void sample(std::initializer_list<MetricLabel> labels, std::int64_t value);
  void sample_seconds(std::initializer_list<MetricLabel> labels, std::uint64_t microseconds);
  /// One histogram of the family: `buckets` are not cumulative, TimeHistogram::kBuckets of them.
  void histogram(std::initializer_list<MetricLabel> labels, const std::uint64_t* buckets,
                 std::uint64_t sum_microseconds);
  void flush();

 private:
  void begin_sample(std::string_view suffix, std::initializer_list<MetricLabel> labels,
                    std::string_view le);
  void end_sample();

  PageSink sink_;
  std::string text_;
  std::string name_;
};

}  // namespace rooster
