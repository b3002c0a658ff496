#include "tunnel/random_source.hpp"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <sys/random.h>

namespace rooster::tunnel {

std::uint32_t RandomSource::next_u32() {
  std::array<std::uint8_t, 4> bytes;
  fill(bytes);
  std::uint32_t number;
  std::memcpy(&number, bytes.data(), sizeof number);
  return number;
}

std::uint64_t RandomSource::next_u64() {
  return (std::uint64_t{next_u32()} << 32) | next_u32();
}

void SystemRandom::fill(std::span<std::uint8_t> out) {
  while (!out.empty()) {
    const ssize_t got = ::getrandom(out.data(), out.size(), 0);
    if (got > 0) {
      out = out.subspan(static_cast<std::size_t>(got));
    } else if (errno != EINTR) {
      std::abort();  // keys from anything less would be worse than none
    }
  }
}

}  // namespace rooster::tunnel
