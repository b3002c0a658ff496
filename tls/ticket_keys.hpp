// TicketKeys: the keys that session tickets are sealed with. A value: the keeper holds its bytes so
// that tickets outlive the server process; every worker adopts the same.
#pragma once

#include "core/error.hpp"
#include "core/time.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::tls {

/// AES-256-CBC and HMAC-SHA256 (RFC 5077 §4), found by name.
struct TicketKey {
  std::array<unsigned char, 16> name{};
  std::array<unsigned char, 32> encryption{};
  std::array<unsigned char, 32> authentication{};
  friend bool operator==(const TicketKey&, const TicketKey&) = default;
};

class TicketKeys {
 public:
  static constexpr std::size_t kKeys = 3;  // the newest seals, all open
  static constexpr std::chrono::hours kRotation{8};
  /// A ticket's life: until then its key is certainly still here.
  static constexpr std::chrono::hours kTicketLife = kRotation * (kKeys - 1);
  static constexpr std::size_t kRandomBytes = sizeof(TicketKey);
  using Random = std::array<unsigned char, kRandomBytes>;

  /// One key made of `random`.
  static TicketKeys fresh(WallTime now, const Random& random);
  /// From the system's generator.
  static Random random();

  /// The next value: a new key in front, the oldest of three gone.
  TicketKeys rotate(WallTime now, const Random& random) const;
  WallTime rotate_at() const { return rotated_at_ + kRotation; }

  const TicketKey& newest() const { return keys_.front(); }
  /// Null: the ticket is too old, or not ours.
  const TicketKey* find(std::span<const unsigned char, 16> name) const;
  std::size_t size() const { return keys_.size(); }

  /// For the keeper's memory; secret.
  std::string encode() const;
  /// Errors: Internal: not what encode() gave.
  static Result<TicketKeys> decode(std::string_view bytes);
  friend bool operator==(const TicketKeys&, const TicketKeys&) = default;

 private:
  std::vector<TicketKey> keys_;  // newest first
  WallTime rotated_at_;
};

}  // namespace rooster::tls
