// Options of the bench programs: --name=value on the command line, nothing else.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace rooster::bench {

class Options {
 public:
  /// Reads `--name=value` arguments; a bare `--name` means "1". Ends the program on anything else.
  Options(int argc, char** argv);

  std::string text(std::string_view name, std::string_view fallback) const;
  std::uint64_t number(std::string_view name, std::uint64_t fallback) const;
  double real(std::string_view name, double fallback) const;
  bool flag(std::string_view name) const { return number(name, 0) != 0; }

 private:
  std::map<std::string, std::string, std::less<>> values_;
};

}  // namespace rooster::bench
