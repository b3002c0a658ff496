#include "core/metrics_page.hpp"

#include "core/json_text.hpp"

#include <array>

namespace rooster {
namespace {

constexpr std::size_t kPieceBytes = 64 * 1024;

// The bounds of TimeHistogram in seconds, as text.
constexpr std::array<std::string_view, TimeHistogram::kBuckets> kLe{
    "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1",
    "0.25",   "0.5",   "1",      "2.5",   "5",    "10",    "+Inf"};

void append_label_value(std::string& out, std::string_view text) {
  for (const char c : text) {
    switch (c) {
      case '\\':
        out += "\\\\";
        break;
      case '"':
        out += "\\\"";
        break;
      case '\n':
        out += "\\n";
        break;
      default:
        out += c;
    }
  }
}

void append_seconds(std::string& out, std::uint64_t microseconds) {
  append_number(out, microseconds / 1'000'000);
  const std::string fraction = std::to_string(1'000'000 + microseconds % 1'000'000);
  out += '.';
  out.append(fraction, 1);
}

}  // namespace

void MetricsPage::family(std::string_view name, std::string_view type, std::string_view help) {
  name_ = name;
  text_ += "# HELP ";
  text_ += name;
  text_ += ' ';
  text_ += help;
  text_ += "\n# TYPE ";
  text_ += name;
  text_ += ' ';
  text_ += type;
  text_ += '\n';
}

void MetricsPage::begin_sample(std::string_view suffix, std::initializer_list<MetricLabel> labels,
                               std::string_view le) {
  text_ += name_;
  text_ += suffix;
  char before = '{';
  const auto label = [&](std::string_view name, std::string_view value) {
    text_ += before;
    text_ += name;
    text_ += "=\"";
    append_label_value(text_, value);
    text_ += '"';
    before = ',';
  };
  for (const auto& [name, value] : labels) label(name, value);
  if (!le.empty()) label("le", le);
  text_ += before == ',' ? "} " : " ";
}

void MetricsPage::end_sample() {
  text_ += '\n';
  if (text_.size() >= kPieceBytes) flush();
}

void MetricsPage::sample(std::initializer_list<MetricLabel> labels, std::uint64_t value) {
  begin_sample("", labels, "");
  append_number(text_, value);
  end_sample();
}

void MetricsPage::sample(std::initializer_list<MetricLabel> labels, std::int64_t value) {
  begin_sample("", labels, "");
  if (value < 0) text_ += '-';
  append_number(
      text_, value < 0 ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value));
  end_sample();
}

void MetricsPage::sample_seconds(std::initializer_list<MetricLabel> labels,
                                 std::uint64_t microseconds) {
  begin_sample("", labels, "");
  append_seconds(text_, microseconds);
  end_sample();
}

void MetricsPage::histogram(std::initializer_list<MetricLabel> labels, const std::uint64_t* buckets,
                            std::uint64_t sum_microseconds) {
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < TimeHistogram::kBuckets; ++i) {
    count += buckets[i];
    begin_sample("_bucket", labels, kLe[i]);
    append_number(text_, count);
    end_sample();
  }
  begin_sample("_sum", labels, "");
  append_seconds(text_, sum_microseconds);
  end_sample();
  begin_sample("_count", labels, "");
  append_number(text_, count);
  end_sample();
}

void MetricsPage::flush() {
  if (!text_.empty()) sink_(text_);
  text_.clear();
}

}  // namespace rooster
