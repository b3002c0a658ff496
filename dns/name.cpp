#include "dns/name.hpp"

#include <cassert>

namespace rooster::dns {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// One character of presentation form, escapes resolved; takes it off `text`.
std::optional<char> take_character(std::string_view& text) {
  const char first = text.front();
  text.remove_prefix(1);
  if (first != '\\') return first;
  if (text.empty()) return std::nullopt;
  if (!is_digit(text.front())) {
    const char escaped = text.front();
    text.remove_prefix(1);
    return escaped;
  }
  if (text.size() < 3 || !is_digit(text[1]) || !is_digit(text[2])) return std::nullopt;
  const int value = (text[0] - '0') * 100 + (text[1] - '0') * 10 + (text[2] - '0');
  if (value > 255) return std::nullopt;
  text.remove_prefix(3);
  return static_cast<char>(value);
}

void append_escaped(std::string& out, char c) {
  const auto byte = static_cast<unsigned char>(c);
  if (byte <= 0x20 || byte >= 0x7f) {
    out += '\\';
    out += static_cast<char>('0' + byte / 100);
    out += static_cast<char>('0' + byte / 10 % 10);
    out += static_cast<char>('0' + byte % 10);
    return;
  }
  if (std::string_view(".\\\"();@$").contains(c)) out += '\\';
  out += c;
}

}  // namespace

std::optional<std::string> name_from_text(std::string_view text) {
  if (text.empty()) return std::nullopt;
  if (text == ".") return std::string(1, '\0');
  std::string wire;
  while (!text.empty()) {
    const std::size_t length_at = wire.size();
    wire += '\0';
    while (!text.empty() && text.front() != '.') {
      const auto c = take_character(text);
      if (!c) return std::nullopt;
      wire += *c;
    }
    const std::size_t length = wire.size() - length_at - 1;
    if (length == 0 || length > kMaxLabelBytes) return std::nullopt;
    wire[length_at] = static_cast<char>(length);
    if (!text.empty()) text.remove_prefix(1);  // the dot
  }
  wire += '\0';
  if (wire.size() > kMaxNameBytes) return std::nullopt;
  return wire;
}

std::string name_to_text(std::string_view wire) {
  std::string text;
  const Labels labels(wire);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    for (const char c : labels[i]) append_escaped(text, c);
    text += '.';
  }
  return text.empty() ? "." : text;
}

Labels::Labels(std::string_view wire) : wire_(wire) {
  std::size_t at = 0;
  while (wire[at] != '\0') {
    assert(count_ < kMaxLabels);
    offsets_[count_++] = static_cast<std::uint8_t>(at);
    at += static_cast<std::size_t>(wire[at]) + 1;
  }
  offsets_[count_] = static_cast<std::uint8_t>(at);
}

std::string_view Labels::operator[](std::size_t i) const {
  const std::size_t at = offsets_[i];
  return wire_.substr(at + 1, static_cast<std::size_t>(wire_[at]));
}

}  // namespace rooster::dns
