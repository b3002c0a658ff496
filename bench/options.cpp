#include "bench/options.hpp"

#include <cstdio>
#include <cstdlib>

namespace rooster::bench {

Options::Options(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (!argument.starts_with("--")) {
      std::fprintf(stderr, "%s: unexpected argument %s\n", argv[0], argv[i]);
      std::exit(2);
    }
    const auto equals = argument.find('=');
    const auto name = argument.substr(2, equals == argument.npos ? argument.npos : equals - 2);
    values_.insert_or_assign(std::string(name), equals == argument.npos
                                                    ? std::string("1")
                                                    : std::string(argument.substr(equals + 1)));
  }
}

std::string Options::text(std::string_view name, std::string_view fallback) const {
  const auto found = values_.find(name);
  return found == values_.end() ? std::string(fallback) : found->second;
}

std::uint64_t Options::number(std::string_view name, std::uint64_t fallback) const {
  const auto found = values_.find(name);
  return found == values_.end() ? fallback : std::strtoull(found->second.c_str(), nullptr, 10);
}

double Options::real(std::string_view name, double fallback) const {
  const auto found = values_.find(name);
  return found == values_.end() ? fallback : std::strtod(found->second.c_str(), nullptr);
}

}  // namespace rooster::bench
