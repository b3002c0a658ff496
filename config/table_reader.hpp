// TableReader: typed reading of one TOML table. What is of the wrong type or range is reported with
// its place and leaves the default; keys that nobody asked for are reported by finish().
#pragma once

#include "config/diagnostic.hpp"
#include "config/document.hpp"

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::config {

/// What a whole number without a unit means where a duration is expected.
enum class BareNumber : std::uint8_t { Seconds, Milliseconds };

struct DurationBounds {
  BareNumber bare = BareNumber::Seconds;
  std::chrono::milliseconds least{0};
  std::chrono::milliseconds most{std::chrono::hours{24 * 365}};
};

class TableReader {
 public:
  /// `unknown`: how bad a key is that nobody asked for.
  TableReader(const Node& table, std::string path, Report& report,
              Severity unknown = Severity::Warning);

  /// The member `key`; from now on it is a known key here.
  const Member* find(std::string_view key);
  /// Keys that are accepted with any value and mean nothing here.
  void accept(std::initializer_list<std::string_view> keys);

  void read(std::string_view key, bool& to);
  void read(std::string_view key, std::string& to);
  void read(std::string_view key, std::optional<bool>& to);
  /// A whole number; as text too ("8080") where Fly's own reader takes that.
  template <class Number>
  void read_number(std::string_view key, Number& to, std::uint64_t least = 0,
                   std::uint64_t most = std::numeric_limits<Number>::max(), bool as_text = false) {
    if (const auto number = number_of(find(key), least, most, as_text))
      to = static_cast<Number>(*number);
  }
  /// false: absent or wrong. An empty text counts as absent.
  bool read_duration(std::string_view key, std::chrono::milliseconds& to, DurationBounds bounds);
  bool read_texts(std::string_view key, std::vector<std::string>& to);
  /// `key` as a table; nullptr: absent or wrong.
  const Node* table(std::string_view key);
  /// `key` as tables, written as [key], [[key]] or a list of inline tables.
  std::vector<const Node*> tables(std::string_view key);

  /// "path.key".
  std::string path(std::string_view key) const;
  std::string item_path(std::string_view key, std::size_t index) const;
  Report& report() { return report_; }
  const Node& node() const { return table_; }
  /// Reports what nobody asked for.
  void finish();

  void wrong_type(const Node& node, const std::string& key, std::string_view expected);

 private:
  std::optional<std::uint64_t> number_of(const Member* member, std::uint64_t least,
                                         std::uint64_t most, bool as_text);

  const Node& table_;
  std::string path_;
  Report& report_;
  Severity unknown_;
  std::vector<std::string_view> known_;
  std::vector<bool> used_;
};

/// A scalar as text (numbers and booleans written out); nullopt: a list or a table.
std::optional<std::string> scalar_text(const Node& node);

/// Where a known key belongs, e.g. "[http_service]"; empty: not a known key.
std::string_view home_of(std::string_view key);

}  // namespace rooster::config
