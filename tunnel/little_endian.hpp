// Numbers on the wire of WireGuard are little endian, whatever the machine is.
#pragma once

#include <cstdint>

namespace rooster::tunnel {

inline std::uint32_t load32(const std::uint8_t* from) {
  return std::uint32_t{from[0]} | std::uint32_t{from[1]} << 8 | std::uint32_t{from[2]} << 16 |
         std::uint32_t{from[3]} << 24;
}

inline std::uint64_t load64(const std::uint8_t* from) {
  return load32(from) | std::uint64_t{load32(from + 4)} << 32;
}

inline void store32(std::uint8_t* to, std::uint32_t number) {
  for (int byte = 0; byte < 4; ++byte) to[byte] = static_cast<std::uint8_t>(number >> (8 * byte));
}

inline void store64(std::uint8_t* to, std::uint64_t number) {
  for (int byte = 0; byte < 8; ++byte) to[byte] = static_cast<std::uint8_t>(number >> (8 * byte));
}

}  // namespace rooster::tunnel
