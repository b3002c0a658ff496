#include "proxy/websocket_frames.hpp"

#include <algorithm>

namespace rooster::proxy {
namespace {

// Two bytes say how long the header is: 0, 2 or 8 bytes of length, then 4 of mask (RFC 6455 §5.2).
std::size_t header_length(unsigned char second) {
  const unsigned length = second & 0x7F;
  const std::size_t extended = length == 126 ? 2 : length == 127 ? 8 : 0;
  return 2 + extended + ((second & 0x80) != 0 ? 4 : 0);
}

std::uint64_t payload_length(const std::array<unsigned char, 14>& header) {
  const unsigned length = header[1] & 0x7F;
  if (length < 126) return length;
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < (length == 126 ? 2 : 8); ++i) number = number << 8 | header[2 + i];
  return number;
}

}  // namespace

// Takes bytes of one frame: up to its end, or the rest of its payload that is there.
std::size_t WebSocketFrames::feed_some(std::string_view bytes) {
  if (payload_left_ > 0) {
    const auto taken =
        static_cast<std::size_t>(std::min<std::uint64_t>(payload_left_, bytes.size()));
    payload_left_ -= taken;
    return taken;
  }
  std::size_t at = 0;
  while (at < bytes.size()) {
    header_[header_bytes_++] = static_cast<unsigned char>(bytes[at++]);
    if (header_bytes_ < 2 || header_bytes_ < header_length(header_[1])) continue;
    has_close_ = has_close_ || (header_[0] & 0x0F) == 0x08;
    payload_left_ = payload_length(header_);
    header_bytes_ = 0;
    break;
  }
  return at;
}

void WebSocketFrames::feed(std::string_view bytes) {
  while (!bytes.empty()) bytes.remove_prefix(feed_some(bytes));
}

std::optional<std::size_t> WebSocketFrames::feed_to_boundary(std::string_view bytes) {
  std::size_t at = 0;
  while (!at_boundary()) {
    if (at == bytes.size()) return std::nullopt;
    at += feed_some(bytes.substr(at));
  }
  return at;
}

std::array<unsigned char, 8> masked_go_away_frame(std::array<unsigned char, 4> key) {
  return {0x88,
          0x82,
          key[0],
          key[1],
          key[2],
          key[3],
          static_cast<unsigned char>(kGoAwayFrame[2] ^ key[0]),
          static_cast<unsigned char>(kGoAwayFrame[3] ^ key[1])};
}

}  // namespace rooster::proxy
