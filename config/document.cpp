// toml++ is included here and nowhere else.
#include "config/document.hpp"

#include <algorithm>
#include <array>
#include <sstream>

// An assert of toml++ 3.3 fails on input alone, e.g. "[\x08".
#define TOML_ASSERT(x) static_assert(true)
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#define TOML_UNRELEASED_FEATURES 0
#include <fmt/format.h>
#include <toml++/toml.h>

namespace rooster::config {
namespace {

Place to_place(const toml::source_region& region) {
  return {static_cast<std::uint32_t>(region.begin.line),
          static_cast<std::uint32_t>(region.begin.column)};
}

template <class Value>
std::string as_written(const Value& value) {
  std::ostringstream out;
  out << value;
  return std::move(out).str();
}

// The depth is bounded by vet_text: brackets times dots.
Node convert(const toml::node& from) {
  Node to;
  to.place = to_place(from.source());
  switch (from.type()) {
    case toml::node_type::string:
      to.kind = Node::Kind::String;
      to.text = from.as_string()->get();
      break;
    case toml::node_type::integer:
      to.kind = Node::Kind::Integer;
      to.integer = from.as_integer()->get();
      break;
    case toml::node_type::floating_point:
      to.kind = Node::Kind::Float;
      to.real = from.as_floating_point()->get();
      break;
    case toml::node_type::boolean:
      to.kind = Node::Kind::Boolean;
      to.boolean = from.as_boolean()->get();
      break;
    case toml::node_type::date:
      to.kind = Node::Kind::Time;
      to.text = as_written(from.as_date()->get());
      break;
    case toml::node_type::time:
      to.kind = Node::Kind::Time;
      to.text = as_written(from.as_time()->get());
      break;
    case toml::node_type::date_time:
      to.kind = Node::Kind::Time;
      to.text = as_written(from.as_date_time()->get());
      break;
    case toml::node_type::array:
      to.kind = Node::Kind::Array;
      to.items.reserve(from.as_array()->size());
      for (const auto& item : *from.as_array()) to.items.push_back(convert(item));
      break;
    case toml::node_type::table:
      to.kind = Node::Kind::Table;
      to.members.reserve(from.as_table()->size());
      for (const auto& [key, value] : *from.as_table()) {
        to.members.push_back({std::string(key.str()), to_place(key.source()), convert(value)});
      }
      std::ranges::sort(to.members, {}, &Member::place);
      break;
    case toml::node_type::none:
      break;
  }
  return to;
}

/// toml++'s "Error while parsing array: expected …" as "expected … (array); what to write".
std::string explain(std::string_view said) {
  struct Mend {
    std::string_view part;
    std::string_view mend;
  };
  static constexpr std::array kMends{
      Mend{"cannot redefine", "keep one of the two"},
      Mend{"could not determine value type", "text stands in quotes: key = \"value\""},
      Mend{"parsing boolean", "true and false are lower case, text stands in quotes"},
      Mend{"expected '='", "write key = value"},
      Mend{"']'", "close it with ]"},
      Mend{"inline table", "close it with } on the same line"},
      Mend{"leading zero", "remove the leading zeros, or put it in quotes"},
      Mend{"escape sequence", "write \\\\ for a backslash, or use single quotes"},
      Mend{"expected value", "write the value behind the ="},
      Mend{"comment or whitespace", "end the line after the value"},
      Mend{"integer", "a number with a unit stands in quotes"},
      Mend{"floating-point", "a number with a unit stands in quotes"},
  };
  constexpr std::string_view kPrefix = "Error while parsing ";
  const auto* const found = std::ranges::find_if(
      kMends, [&](const Mend& one) { return said.find(one.part) != std::string_view::npos; });
  const auto mend = found == kMends.end() ? "write key = value or [table]" : found->mend;
  const auto colon = said.find(": ");
  if (!said.starts_with(kPrefix) || colon == std::string_view::npos) {
    return fmt::format("{}; {}", said, mend);
  }
  const auto what = said.substr(kPrefix.size(), colon - kPrefix.size());
  return fmt::format("{} ({}); {}", said.substr(colon + 2), what, mend);
}

}  // namespace

const Member* Node::find(std::string_view key) const {
  for (const auto& member : members) {
    if (member.key == key) return &member;
  }
  return nullptr;
}

std::string_view in_words(Node::Kind kind) {
  switch (kind) {
    case Node::Kind::String:
      return "text";
    case Node::Kind::Integer:
      return "a whole number";
    case Node::Kind::Float:
      return "a number with a point";
    case Node::Kind::Boolean:
      return "true or false";
    case Node::Kind::Time:
      return "a date or time";
    case Node::Kind::Array:
      return "a list";
    case Node::Kind::Table:
      return "a table";
  }
  return "a value";
}

std::expected<Node, SyntaxError> parse_document(std::string_view text, TextBounds bounds) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // some editors' mark of UTF-8
  if (auto vetted = vet_text(text, bounds); !vetted) return std::unexpected(vetted.error());
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    return std::unexpected(
        SyntaxError{to_place(parsed.error().source()), explain(parsed.error().description())});
  }
  return convert(parsed.table());
}

}  // namespace rooster::config
