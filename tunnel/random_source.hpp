// RandomSource: where keys, indices, nonces and jitter come from.
#pragma once

#include <cstdint>
#include <span>

namespace rooster::tunnel {

class RandomSource {
 public:
  virtual ~RandomSource() = default;
  virtual void fill(std::span<std::uint8_t> out) = 0;

  std::uint32_t next_u32();
  std::uint64_t next_u64();
};

/// getrandom(2). Not OpenSSL's generator: a virtual machine restored from a snapshot would repeat
/// it. Ends the process when the kernel has no randomness to give.
class SystemRandom final : public RandomSource {
 public:
  void fill(std::span<std::uint8_t> out) override;
};

}  // namespace rooster::tunnel
