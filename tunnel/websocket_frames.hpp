// The two framings of WireGuard over WebSocket, without I/O: RFC 6455 frames, whose payloads make a
// byte stream, and in that stream flyctl's: the client's magic, then u32be length and datagram.
#pragma once

#include "core/error.hpp"
#include "tunnel/random_source.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::tunnel {

enum class WebsocketRole : std::uint8_t { Client, Server };

/// The value of Sec-WebSocket-Accept for the request's Sec-WebSocket-Key (RFC 6455 §4.2.2).
std::string websocket_accept(std::string_view key);
/// A fresh Sec-WebSocket-Key.
std::string websocket_key(RandomSource& random);

enum class WebsocketOpcode : std::uint8_t {
  Continuation = 0,
  Text = 1,
  Binary = 2,
  Close = 8,
  Ping = 9,
  Pong = 10,
};

/// Appends one frame, masked where `role` is Client.
void append_websocket_frame(std::string& out, WebsocketOpcode opcode,
                            std::span<const std::uint8_t> payload, WebsocketRole role,
                            RandomSource& random);

/// Takes WebSocket frames apart as they come; unmasks in place.
class WebsocketReader {
 public:
  /// `role` is ours: a server takes masked frames only, a client unmasked ones (RFC 6455 §5.1).
  explicit WebsocketReader(WebsocketRole role) : role_(role) {}

  /// A piece of what a frame carries.
  struct Piece {
    WebsocketOpcode opcode = WebsocketOpcode::Binary;
    std::span<std::uint8_t> payload;
    bool ends_frame = false;
  };
  /// Takes the next piece from the front of `bytes` and shortens it by what was used. False: all is
  /// used. Errors: BadFraming.
  Result<bool> next(std::span<std::uint8_t>& bytes, Piece& piece);

 private:
  Result<> begin_frame();

  WebsocketRole role_;
  std::array<std::uint8_t, 14> head_{};
  std::size_t head_bytes_ = 0;   // of head_ that have come
  std::uint64_t remaining_ = 0;  // payload of the frame that is not here yet
  std::size_t mask_at_ = 0;
  bool in_frame_ = false;
  WebsocketOpcode opcode_ = WebsocketOpcode::Binary;
  std::array<std::uint8_t, 4> mask_{};
};

/// Finds the datagrams in the byte stream.
class DatagramReader {
 public:
  static constexpr std::size_t kMaxDatagramBytes = 65'535;
  static constexpr std::array<std::uint8_t, 4> kMagic = {0x2f, 0xac, 0xed, 0x77};

  /// Only what a client sends begins with the magic.
  explicit DatagramReader(bool expects_magic) : expects_magic_(expects_magic) {}

  /// Takes the next datagram from the front of `bytes`; empty when all is used. Keepalives are
  /// skipped. It may lie in `bytes` or here, until the next call. Errors: BadFraming.
  Result<std::span<std::uint8_t>> next(std::span<std::uint8_t>& bytes);

 private:
  bool gather(std::span<std::uint8_t>& bytes, std::size_t wanted);

  bool expects_magic_;
  bool has_length_ = false;
  std::size_t length_ = 0;
  std::vector<std::uint8_t> held_;
};

/// Appends a datagram behind its length. An empty one is the keepalive.
void append_datagram(std::vector<std::uint8_t>& out, std::span<const std::uint8_t> datagram);

}  // namespace rooster::tunnel
