// JSON as text: escaping, and a writer that appends to a string. Used by the logs, the error
// responses and admin/.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rooster {

/// Appends `text` as a quoted JSON string. Control bytes are escaped and bytes that are not UTF-8
/// become U+FFFD, so that a line of output stays one line and valid whatever came from a client.
void append_json_string(std::string& out, std::string_view text);

/// Appends `text` with the five characters that HTML gives a meaning replaced.
void append_html_escaped(std::string& out, std::string_view text);

/// Appends a number without a locale or an allocation.
void append_number(std::string& out, std::uint64_t number);

/// Writes JSON into a string that the caller owns. Commas are the writer's business; nesting is the
/// caller's.
class JsonWriter {
 public:
  explicit JsonWriter(std::string& out) : out_(out) {}

  JsonWriter& begin_object();
  JsonWriter& end_object();
  JsonWriter& begin_array();
  JsonWriter& end_array();
  JsonWriter& key(std::string_view name);

  JsonWriter& value(std::string_view text);
  JsonWriter& value(const char* text) { return value(std::string_view(text)); }
  JsonWriter& value(bool yes);
  JsonWriter& value(double number);
  JsonWriter& null();
  template <std::integral Number>
    requires(!std::same_as<Number, bool>)
  JsonWriter& value(Number number) {
    separate();
    if constexpr (std::signed_integral<Number>) {
      if (number < 0) out_ += '-';
      const auto wide = static_cast<std::int64_t>(number);
      append_number(
          out_, wide < 0 ? 0 - static_cast<std::uint64_t>(wide) : static_cast<std::uint64_t>(wide));
    } else {
      append_number(out_, number);
    }
    return *this;
  }

  /// `key(name).value(v)`.
  template <class Value>
  JsonWriter& field(std::string_view name, const Value& v) {
    return key(name).value(v);
  }
  /// The same, and nothing at all where `v` is empty.
  template <class Value>
  JsonWriter& field(std::string_view name, const std::optional<Value>& v) {
    return v ? key(name).value(*v) : *this;
  }

 private:
  void separate();

  std::string& out_;
  bool needs_comma_ = false;
};

}  // namespace rooster
