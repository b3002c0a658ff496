// The scan before the parser. toml++ 3.3 runs into undefined behaviour on letters beyond ASCII
// outside strings (its issues 190 and 295), recurses per nesting level, and calls a missing quote
// "control characters".
#include "config/document.hpp"

#include <fmt/format.h>

#include <optional>

namespace rooster::config {
namespace {

constexpr int kMaxBrackets = 32;  // arrays and inline tables inside each other
constexpr int kMaxDots = 16;      // parts of one dotted key

/// Length of the UTF-8 character at `at`; 0: not valid UTF-8 (RFC 3629 §4).
std::size_t character_bytes(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) -> unsigned {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0U;
  };
  const unsigned first = byte(0);
  const auto tail = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return tail(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (first == 0xE0 && byte(1) < 0xA0) return 0;
    if (first == 0xED && byte(1) > 0x9F) return 0;
    return tail(1) && tail(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (first == 0xF0 && byte(1) < 0x90) return 0;
    if (first == 0xF4 && byte(1) > 0x8F) return 0;
    return tail(1) && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  std::expected<void, SyntaxError> run() {
    while (at_ < text_.size() && !failure_) {
      const char c = text_[at_];
      if (c == '#') {
        comment();
      } else if (c == '"' || c == '\'') {
        quoted(c);
      } else if (static_cast<unsigned char>(c) >= 0x80) {
        fail("a letter beyond ASCII outside quotes; put the key or value in quotes");
      } else {
        structure(c);
        step();
      }
    }
    if (failure_) return std::unexpected(*failure_);
    return {};
  }

 private:
  void structure(char c) {
    if (c == '[' || c == '{') {
      if (++brackets_ > kMaxBrackets)
        fail(fmt::format("nested deeper than {}; flatten it", kMaxBrackets));
    } else if (c == ']' || c == '}') {
      if (brackets_ > 0) --brackets_;
    } else if (c == '.') {
      if (++dots_ > kMaxDots)
        fail(fmt::format("a key of more than {} parts; shorten it", kMaxDots + 1));
      return;
    }
    if (c == '=' || c == ',' || c == '\n' || c == '[' || c == ']' || c == '{' || c == '}')
      dots_ = 0;
  }

  void comment() {
    while (at_ < text_.size() && text_[at_] != '\n' && !failure_) step();
  }

  void quoted(char quote) {
    const Place start = place();
    const bool multi_line = starts_with(quote, 3);
    for (int i = 0; i < (multi_line ? 3 : 1); ++i) step();
    while (at_ < text_.size() && !failure_) {
      const char c = text_[at_];
      if (multi_line ? starts_with(quote, 3) : c == quote) {
        for (int i = 0; i < (multi_line ? 3 : 1); ++i) step();
        // Up to two quotes may stand before the closing three.
        while (multi_line && at_ < text_.size() && text_[at_] == quote) step();
        return;
      }
      if (c == '\n' && !multi_line) break;
      if (c == '\\' && quote == '"') {
        escape(multi_line);
      } else {
        step();
      }
    }
    if (failure_) return;
    failure_ = SyntaxError{start, fmt::format("this text has no end; write {} after it",
                                              std::string(multi_line ? 3 : 1, quote))};
  }

  void escape(bool multi_line) {
    step();
    if (at_ >= text_.size()) return;
    const bool joins = is_space(text_[at_]);
    if (!multi_line || !joins) {
      if (text_[at_] != '\n') step();
      return;
    }
    while (at_ < text_.size() && is_space(text_[at_]) && !failure_) step();
    if (at_ < text_.size() && static_cast<unsigned char>(text_[at_]) >= 0x80) {
      fail("a joined line begins with a letter beyond ASCII; write the text on one line");
    }
  }

  static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

  bool starts_with(char quote, std::size_t times) const {
    return text_.substr(at_, times) == std::string(times, quote);
  }

  /// One character on, whatever it is part of.
  void step() {
    const char c = text_[at_];
    if (c == '\n') {
      ++line_;
      column_ = 1;
      ++at_;
      return;
    }
    const bool lone_return = c == '\r' && (at_ + 1 >= text_.size() || text_[at_ + 1] != '\n');
    if (lone_return || c == 0x7F ||
        (static_cast<unsigned char>(c) < 0x20 && c != '\t' && c != '\r')) {
      fail("a control character; remove it");
      return;
    }
    const std::size_t bytes = character_bytes(text_, at_);
    if (bytes == 0) {
      fail("not valid UTF-8; save the file as UTF-8");
      return;
    }
    at_ += bytes;
    ++column_;
  }

  Place place() const { return {line_, column_}; }
  void fail(std::string message) {
    if (!failure_) failure_ = SyntaxError{place(), std::move(message)};
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::uint32_t line_ = 1;
  std::uint32_t column_ = 1;
  int brackets_ = 0;
  int dots_ = 0;
  std::optional<SyntaxError> failure_;
};

}  // namespace

std::expected<void, SyntaxError> vet_text(std::string_view text, TextBounds bounds) {
  if (text.size() > bounds.bytes) {
    return std::unexpected(
        SyntaxError{{}, fmt::format("larger than {} bytes; split or shorten it", bounds.bytes)});
  }
  std::size_t lines = 1;
  for (const char c : text) lines += c == '\n' ? 1 : 0;
  if (lines > bounds.lines + 1) {
    return std::unexpected(
        SyntaxError{{}, fmt::format("more than {} lines; split or shorten it", bounds.lines)});
  }
  return Scanner(text).run();
}

}  // namespace rooster::config
