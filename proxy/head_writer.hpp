// Writes a head into a buffer of fixed size: every value is checked, nothing is written past the
// end.
#pragma once

#include "proxy/head_line.hpp"

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace rooster::proxy {

/// memcpy for the short texts of a head: two overlapping moves, where a call would cost more than
/// the copy.
inline void copy_short(char* to, const char* from, std::size_t size) {
  const auto both_ends = [&]<class Word>(Word) {
    Word first;
    Word last;
    std::memcpy(&first, from, sizeof first);
    std::memcpy(&last, from + size - sizeof last, sizeof last);
    std::memcpy(to, &first, sizeof first);
    std::memcpy(to + size - sizeof last, &last, sizeof last);
  };
  struct Block {
    std::uint64_t words[2];
  };
  if (size > 32) {
    std::memcpy(to, from, size);
  } else if (size >= 16) {
    both_ends(Block{});
  } else if (size >= 8) {
    both_ends(std::uint64_t{});
  } else if (size >= 4) {
    both_ends(std::uint32_t{});
  } else {
    for (std::size_t i = 0; i < size; ++i) to[i] = from[i];
  }
}

class HeadWriter {
 public:
  HeadWriter(char* out, std::size_t capacity) : begin_(out), at_(out), end_(out + capacity) {}

  void text(std::string_view piece) {
    if (piece.size() > static_cast<std::size_t>(end_ - at_)) {
      overflow_ = true;
      return;
    }
    copy_short(at_, piece.data(), piece.size());
    at_ += piece.size();
  }

  void number(std::uint64_t value) {
    const auto [next, error] = std::to_chars(at_, end_, value);
    if (error != std::errc{}) {
      overflow_ = true;
    } else {
      at_ = next;
    }
  }

  /// One field. A name or value that could not stand alone on its line is left out (contract 9).
  void field(std::string_view name, std::string_view value) {
    if (!is_field_text(name) || !is_field_text(value)) return;
    if (name.size() + value.size() + 4 > static_cast<std::size_t>(end_ - at_)) {
      overflow_ = true;
      return;
    }
    copy_short(at_, name.data(), name.size());
    at_ += name.size();
    *at_++ = ':';
    *at_++ = ' ';
    copy_short(at_, value.data(), value.size());
    at_ += value.size();
    *at_++ = '\r';
    *at_++ = '\n';
  }

  void field(std::string_view name, std::uint64_t value) {
    text(name);
    text(": ");
    number(value);
    text("\r\n");
  }

  /// A field whose value is a list: what came, then ours.
  void begin_list(std::string_view name) {
    text(name);
    text(": ");
    first_ = true;
  }
  void list_element(std::string_view value) {
    if (value.empty() || !is_field_text(value)) return;
    if (!first_) text(", ");
    first_ = false;
    text(value);
  }
  void end_list() { text("\r\n"); }

  /// Bytes written; 0 if they did not fit.
  std::size_t size() const { return overflow_ ? 0 : static_cast<std::size_t>(at_ - begin_); }

 private:
  char* begin_;
  char* at_;
  char* end_;
  bool overflow_ = false;
  bool first_ = true;
};

/// The names that the Connection fields of one head nominate (RFC 9110 §7.6.1).
class Nominated {
 public:
  template <class Head>
  explicit Nominated(const Head& head) {
    if (!head.nominates) return;
    for (const Field& field : head.fields()) {
      if (field.kind != FieldKind::Connection) continue;
      TokenList options(field.value);
      for (auto name = options.next(); !name.empty() && count_ < names_.size();
           name = options.next()) {
        names_[count_++] = name;
      }
    }
  }

  bool removes(const Field& field) const {
    if (count_ == 0 || !may_be_nominated(field.kind)) return false;
    for (std::size_t i = 0; i < count_; ++i) {
      if (names_[i].size() == field.name.size() && same(names_[i], field.name)) return true;
    }
    return false;
  }

 private:
  static bool same(std::string_view a, std::string_view b) {
    const auto lower = [](char c) {
      return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
    };
    for (std::size_t i = 0; i < a.size(); ++i) {
      if (lower(a[i]) != lower(b[i])) return false;
    }
    return true;
  }

  std::array<std::string_view, kMaxConnectionOptions> names_;
  std::size_t count_ = 0;
};

}  // namespace rooster::proxy
