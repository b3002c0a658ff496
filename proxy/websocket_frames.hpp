// Counts WebSocket frames through a tunnel, to know where a Close may be put in (RFC 6455 §5.2).
// Nothing is unmasked.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace rooster::proxy {

/// One direction of a WebSocket: where its frames begin and end.
class WebSocketFrames {
 public:
  /// Takes all of `bytes`.
  void feed(std::string_view bytes);

  /// Takes `bytes` up to the first frame boundary and returns how many that is (0: stands on one
  /// already); nullopt: all were taken, the frame goes on.
  std::optional<std::size_t> feed_to_boundary(std::string_view bytes);

  bool at_boundary() const { return header_bytes_ == 0 && payload_left_ == 0; }
  /// A Close frame has begun in this direction.
  bool has_close() const { return has_close_; }

 private:
  std::size_t feed_some(std::string_view bytes);

  std::array<unsigned char, 14> header_{};
  std::uint8_t header_bytes_ = 0;
  bool has_close_ = false;
  std::uint64_t payload_left_ = 0;
};

/// Close 1001 (going away) as a server sends it.
inline constexpr std::array<unsigned char, 4> kGoAwayFrame = {0x88, 0x02, 0x03, 0xE9};

/// Close 1001 as a client sends it, masked with `key`.
std::array<unsigned char, 8> masked_go_away_frame(std::array<unsigned char, 4> key);

}  // namespace rooster::proxy
