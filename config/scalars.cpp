#include "config/scalars.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <vector>

#include <arpa/inet.h>

namespace rooster::config {
namespace {

using std::chrono::milliseconds;

constexpr double kMaxMilliseconds = 10.0 * 365 * 24 * 3600 * 1000;

struct Unit {
  std::string_view name;
  double milliseconds;
};
// Longer names first: "ms" before "m".
constexpr std::array kUnits{Unit{"ms", 1},    Unit{"us", 1e-3},     Unit{"µs", 1e-3},
                            Unit{"ns", 1e-6}, Unit{"h", 3'600'000}, Unit{"m", 60'000},
                            Unit{"s", 1000}};

}  // namespace

std::optional<milliseconds> parse_duration(std::string_view text) {
  if (text == "0") return milliseconds{0};
  if (text.empty() || text.size() > 64) return std::nullopt;
  if (text.front() == '+') text.remove_prefix(1);
  double total = 0;
  do {
    const auto digits = text.find_first_not_of("0123456789.");
    if (digits == 0 || digits == std::string_view::npos) return std::nullopt;
    double number = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + digits, number);
    if (failed != std::errc{} || end != text.data() + digits) return std::nullopt;
    text.remove_prefix(digits);
    const auto* const unit =
        std::ranges::find_if(kUnits, [&](const Unit& one) { return text.starts_with(one.name); });
    if (unit == kUnits.end()) return std::nullopt;
    text.remove_prefix(unit->name.size());
    total += number * unit->milliseconds;
    if (!(total <= kMaxMilliseconds)) return std::nullopt;
  } while (!text.empty());
  return milliseconds{std::llround(total)};
}

std::string to_text(milliseconds duration) {
  auto rest = duration.count();
  if (rest == 0) return "0s";
  std::string out;
  for (const auto& [name, length] : {std::pair{"h", 3'600'000L}, std::pair{"m", 60'000L},
                                     std::pair{"s", 1000L}, std::pair{"ms", 1L}}) {
    if (rest >= length) out += fmt::format("{}{}", rest / length, name);
    rest %= length;
  }
  return out;
}

bool is_ip_address(std::string_view text) {
  if (text.size() >= INET6_ADDRSTRLEN) return false;
  const std::string copy(text);
  in6_addr parsed{};
  return inet_pton(AF_INET, copy.c_str(), &parsed) == 1 ||
         inet_pton(AF_INET6, copy.c_str(), &parsed) == 1;
}

bool is_range(std::string_view text) {
  const auto slash = text.find('/');
  if (!is_ip_address(text.substr(0, slash))) return false;
  if (slash == std::string_view::npos) return true;
  const std::string_view prefix = text.substr(slash + 1);
  const unsigned most = text.substr(0, slash).find(':') == std::string_view::npos ? 32 : 128;
  unsigned bits = 0;
  const auto [end, failed] = std::from_chars(prefix.data(), prefix.data() + prefix.size(), bits);
  return failed == std::errc{} && end == prefix.data() + prefix.size() && bits <= most;
}

bool is_region(std::string_view text) {
  return text.size() >= 2 && text.size() <= 32 && std::ranges::all_of(text, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
         });
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  // Optimal string alignment: rows of the table for the last two letters of `a`.
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, change});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

std::string_view nearest(std::string_view written, std::span<const std::string_view> candidates) {
  if (written.size() > 64) return {};
  std::string_view best;
  // A third of the letters wrong is still a slip; more is another word.
  std::size_t bound = std::max<std::size_t>(1, written.size() / 3) + 1;
  for (const auto candidate : candidates) {
    const std::size_t distance = edit_distance(written, candidate);
    if (distance < bound) {
      bound = distance;
      best = candidate;
    }
  }
  return best;
}

std::string beside(std::string_view file, std::string_view path) {
  const std::filesystem::path whole = std::filesystem::path(file).parent_path() / path;
  std::string normal = whole.lexically_normal().string();
  if (normal.size() > 1 && normal.ends_with('/')) normal.pop_back();
  return normal;
}

}  // namespace rooster::config
