// ReplayWindow: which of the last counters of a session have been seen (RFC 6479), 8192 bits.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace rooster::tunnel {

/// No counter at or beyond this is sent or taken (paper §6.1).
inline constexpr std::uint64_t kRejectAfterMessages = ~std::uint64_t{0} - (1 << 13);

class ReplayWindow {
 public:
  /// Whether `counter` would be taken: cheap, before decryption.
  bool is_fresh(std::uint64_t counter) const;
  /// Takes `counter`. Only after its datagram has proven authentic. False: seen, or too old.
  bool accept(std::uint64_t counter);

 private:
  static constexpr std::size_t kWords = 128;
  // One word of the ring is always partly ahead of the window, so it can't count as behind it.
  static constexpr std::uint64_t kWindow = (kWords - 1) * 64;

  std::uint64_t next_ = 0;  ///< one past the greatest counter seen
  std::array<std::uint64_t, kWords> seen_{};
};

}  // namespace rooster::tunnel
