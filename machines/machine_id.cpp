#include "machines/machine_id.hpp"

#include <array>

namespace rooster::machines {

MachineId make_machine_id(std::string_view app, std::string_view group, std::string_view region,
                          std::string_view which) {
  // FNV-1a with a separator no name contains, then a finalizer (splitmix64) so that near names
  // differ in all digits.
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  const auto mix = [&hash](unsigned char byte) {
    hash ^= byte;
    hash *= 0x100000001b3ULL;
  };
  for (std::string_view part : {app, group, region, which}) {
    for (char c : part) mix(static_cast<unsigned char>(c));
    mix(0);
  }
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9ULL;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebULL;
  hash ^= hash >> 31;
  constexpr std::string_view kDigits = "0123456789abcdef";
  MachineId id{std::string(14, '0')};
  for (char& digit : id.value) {
    digit = kDigits[hash >> 60];
    hash <<= 4;
  }
  return id;
}

}  // namespace rooster::machines
