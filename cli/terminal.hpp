// What is printed: columns, colours, and text from outside made harmless.
#pragma once

#include "cli/run_cli.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::cli {

enum class Colour : std::uint8_t { Plain, Red, Green, Yellow, Dim, Bold };

/// `text` in a colour, where the console has any.
std::string paint(const Console& console, Colour colour, std::string_view text);

/// `text` with its control bytes replaced: what an app wrote can't move the cursor or retitle the
/// window.
std::string harmless(std::string_view text);

/// Rows in columns, two spaces apart; the first row is the header. Cells are made harmless.
class Table {
 public:
  explicit Table(std::vector<std::string> header) { rows_.push_back(std::move(header)); }
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  bool is_empty() const { return rows_.size() == 1; }
  void print(const Console& console) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

/// "  Name     = hello" lines, as flyctl prints one thing.
void print_pairs(const Console& console,
                 const std::vector<std::pair<std::string, std::string>>& pairs);

}  // namespace rooster::cli
