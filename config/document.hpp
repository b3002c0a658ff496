// Document: TOML text as a tree of values that know their places. Pure; the only door to toml++.
#pragma once

#include "config/diagnostic.hpp"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::config {

struct Member;

/// One TOML value. Members of a table stand in the order of the file.
struct Node {
  enum class Kind : std::uint8_t { String, Integer, Float, Boolean, Time, Array, Table };

  Kind kind = Kind::Table;
  Place place;
  std::string text;  ///< String; Time as written
  std::int64_t integer = 0;
  double real = 0;
  bool boolean = false;
  std::vector<Node> items;
  std::vector<Member> members;

  bool is(Kind other) const { return kind == other; }
  const Member* find(std::string_view key) const;
};

struct Member {
  std::string key;
  Place place;  ///< of the key
  Node value;
};

/// "text", "a number", "a table" …: a kind in words.
std::string_view in_words(Node::Kind kind);

/// How large a file may be: what is larger is refused before it is parsed.
struct TextBounds {
  std::size_t bytes = 512UL * 1024;
  std::size_t lines = 10'000;
};

/// What stopped the parser.
struct SyntaxError {
  Place place;
  std::string message;
};

/// Refuses what isn't plain, bounded TOML before the parser sees it: size, nesting, bad UTF-8,
/// control characters, letters beyond ASCII outside quotes, strings without an end.
std::expected<void, SyntaxError> vet_text(std::string_view text, TextBounds bounds);

/// Errors: the first place where `text` isn't TOML (TOML 1.0.0).
std::expected<Node, SyntaxError> parse_document(std::string_view text, TextBounds bounds = {});

}  // namespace rooster::config
