#include "cli/terminal.hpp"

#include <algorithm>
#include <ostream>

namespace rooster::cli {
namespace {

std::string_view code_of(Colour colour) {
  switch (colour) {
    case Colour::Plain:
      return "";
    case Colour::Red:
      return "31";
    case Colour::Green:
      return "32";
    case Colour::Yellow:
      return "33";
    case Colour::Dim:
      return "2";
    case Colour::Bold:
      return "1";
  }
  return "";
}

// Characters, not bytes: UTF-8 continuation bytes take no column.
std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

}  // namespace

std::string paint(const Console& console, Colour colour, std::string_view text) {
  if (!console.has_colour || colour == Colour::Plain) return std::string(text);
  return "\x1b[" + std::string(code_of(colour)) + 'm' + std::string(text) + "\x1b[0m";
}

std::string harmless(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // U+0080 to U+009F are control characters too.
    const bool is_c1 =
        byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (is_c1) ++i;
    out += is_c1 || byte < 0x20 || byte == 0x7F ? '?' : text[i];
  }
  return out;
}

void Table::print(const Console& console) const {
  std::vector<std::size_t> widths;
  std::vector<std::vector<std::string>> cells;
  for (const auto& row : rows_) {
    auto& clean = cells.emplace_back();
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) {
      clean.push_back(harmless(row[i]));
      widths[i] = std::max(widths[i], width(clean[i]));
    }
  }
  for (std::size_t r = 0; r < cells.size(); ++r) {
    std::string line;
    for (std::size_t i = 0; i < cells[r].size(); ++i) {
      line += cells[r][i];
      if (i + 1 < cells[r].size()) line.append(widths[i] - width(cells[r][i]) + 2, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    console.out << (r == 0 ? paint(console, Colour::Bold, line) : line) << '\n';
  }
}

void print_pairs(const Console& console,
                 const std::vector<std::pair<std::string, std::string>>& pairs) {
  std::size_t widest = 0;
  for (const auto& [name, value] : pairs) widest = std::max(widest, name.size());
  for (const auto& [name, value] : pairs) {
    console.out << "  " << name << std::string(widest - name.size(), ' ') << " = "
                << harmless(value) << '\n';
  }
}

}  // namespace rooster::cli
