// Domain names as they go over the wire: labels, each behind its length, up to the root's zero byte
// (RFC 1035 §3.1); uncompressed unless said.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rooster::dns {

inline constexpr std::size_t kMaxNameBytes = 255;
inline constexpr std::size_t kMaxLabelBytes = 63;
inline constexpr std::size_t kMaxLabels = 127;

/// The wire form of "db.internal" or "db.internal."; "." is the root. Escapes: "\." and "\046".
std::optional<std::string> name_from_text(std::string_view text);
/// Presentation form, always with the final dot.
std::string name_to_text(std::string_view wire);

/// The labels of a whole wire name, from the left and without the root. Refers to the name's bytes.
class Labels {
 public:
  explicit Labels(std::string_view wire);
  std::size_t size() const { return count_; }
  std::string_view operator[](std::size_t i) const;
  /// The i-th from the right: 0 is the top-level domain.
  std::string_view from_right(std::size_t i) const { return (*this)[count_ - 1 - i]; }
  /// Where label `i` begins (its length byte); i == size() is the root.
  std::size_t offset(std::size_t i) const { return offsets_[i]; }

 private:
  std::string_view wire_;
  std::array<std::uint8_t, kMaxLabels + 1> offsets_;
  std::size_t count_ = 0;
};

}  // namespace rooster::dns
