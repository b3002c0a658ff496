// One line of a head at a time, for requests, responses and trailers alike (RFC 9112 §2.2, §5).
#pragma once

#include "proxy/field.hpp"

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace rooster::proxy {

/// 0: no token byte; 1: token byte (RFC 9110 §5.6.2); 2: the underscore, which some apps read as a
/// dash.
inline constexpr std::array<std::uint8_t, 256> kTokenBytes = [] {
  std::array<std::uint8_t, 256> table{};
  for (unsigned char c = 'a'; c <= 'z'; ++c) table[c] = 1;
  for (unsigned char c = 'A'; c <= 'Z'; ++c) table[c] = 1;
  for (unsigned char c = '0'; c <= '9'; ++c) table[c] = 1;
  for (const char c : std::string_view("!#$%&'*+-.^`|~")) table[static_cast<unsigned char>(c)] = 1;
  table['_'] = 2;
  return table;
}();

/// The first control byte other than tab, or `end`.
inline const char* find_control(const char* at, const char* end) {
#if defined(__SSE2__)
  const __m128i last_control = _mm_set1_epi8(0x1F);
  const __m128i tab = _mm_set1_epi8('\t');
  const __m128i del = _mm_set1_epi8(0x7F);
  for (; end - at >= 16; at += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, last_control), bytes);
    const __m128i control =
        _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(bytes, tab), low), _mm_cmpeq_epi8(bytes, del));
    const auto mask = static_cast<unsigned>(_mm_movemask_epi8(control));
    if (mask != 0) return at + std::countr_zero(mask);
  }
#endif
  for (; at != end; ++at) {
    const auto byte = static_cast<unsigned char>(*at);
    if ((byte < 0x20 && byte != '\t') || byte == 0x7F) return at;
  }
  return end;
}

/// Is a byte of the word below 0x20 or 0x7F? A tab counts: the caller looks again.
template <class Word>
bool has_low_byte(const char* at) {
  constexpr Word kOnes = static_cast<Word>(-1) / 0xFF;
  Word word;
  std::memcpy(&word, at, sizeof word);
  const Word del = word ^ (kOnes * 0x7F);
  return (((word - kOnes * 0x20) & ~word) | ((del - kOnes) & ~del)) & (kOnes * 0x80);
}

/// True if the text can stand in a field value as it is: no CR, LF, NUL or other control byte.
inline bool is_field_text(std::string_view text) {
  const char* at = text.data();
  const char* end = at + text.size();
  // Short texts, which most are, by two overlapping words; any doubt is settled byte by byte.
  if (text.size() < 8) {
    if (text.size() >= 4 && !has_low_byte<std::uint32_t>(at) &&
        !has_low_byte<std::uint32_t>(end - 4))
      return true;
  } else if (text.size() <= 16) {
    if (!has_low_byte<std::uint64_t>(at) && !has_low_byte<std::uint64_t>(end - 8)) return true;
  }
  return find_control(at, end) == end;
}

struct HeadLine {
  ParseStatus status = ParseStatus::NeedMore;
  std::string_view text;  ///< without CRLF
};

/// The line that begins at `start`. `scanned` (>= start) remembers how far nothing was found, so
/// that a head fed byte by byte is looked at once. Complete: both move behind the line. Only CRLF
/// ends a line.
inline HeadLine next_line(std::string_view bytes, std::size_t& start, std::size_t& scanned) {
  const char* base = bytes.data();
  const char* end = base + bytes.size();
  const char* found = find_control(base + scanned, end);
  scanned = static_cast<std::size_t>(found - base);
  if (found == end) return {};
  if (*found != '\r') return {ParseStatus::Invalid, {}};
  if (found + 1 == end) return {};
  if (found[1] != '\n') return {ParseStatus::Invalid, {}};
  const HeadLine line{ParseStatus::Complete, bytes.substr(start, scanned - start)};
  scanned += 2;
  start = scanned;
  return line;
}

inline std::string_view trim_blanks(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// Splits "name: value" and classifies the name. False: no token before the colon, white space
/// around it, or a fold.
inline bool split_field(std::string_view line, Field& field) {
  const char* at = line.data();
  const char* end = at + line.size();
  unsigned seen = 0;
  for (; at != end; ++at) {
    const unsigned byte = kTokenBytes[static_cast<unsigned char>(*at)];
    if (byte == 0) break;
    seen |= byte;
  }
  if (at == line.data() || at == end || *at != ':') return false;
  const auto name_bytes = static_cast<std::size_t>(at - line.data());
  field.name = line.substr(0, name_bytes);
  field.value = trim_blanks(line.substr(name_bytes + 1));
  field.kind = (seen & 2) == 0 ? classify(field.name) : classify_underscored(field.name);
  return true;
}

/// Walks a comma-separated list of tokens (RFC 9110 §5.6.1); empty elements are passed over.
class TokenList {
 public:
  explicit TokenList(std::string_view value) : rest_(value) {}

  /// The next element, "" at the end.
  std::string_view next() {
    while (!rest_.empty()) {
      const std::size_t comma = rest_.find(',');
      const std::string_view element = trim_blanks(rest_.substr(0, comma));
      rest_ = comma == std::string_view::npos ? std::string_view{} : rest_.substr(comma + 1);
      if (!element.empty()) return element;
    }
    return {};
  }

 private:
  std::string_view rest_;
};

inline bool is_token(std::string_view text) {
  for (const char c : text) {
    if (kTokenBytes[static_cast<unsigned char>(c)] == 0) return false;
  }
  return !text.empty();
}

/// Digits only, at most 2^63 - 1: no sign, no list, no white space (RFC 9110 §8.6).
inline bool read_length(std::string_view digits, std::uint64_t& length) {
  if (digits.empty() || digits.size() > 19) return false;
  std::uint64_t number = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return false;
    number = number * 10 + static_cast<std::uint64_t>(c - '0');
  }
  length = number;
  return number <= static_cast<std::uint64_t>(INT64_MAX);
}

/// A Connection field may name this many options; more is an attack on whoever compares them with
/// every field.
inline constexpr std::size_t kMaxConnectionOptions = 32;

}  // namespace rooster::proxy
