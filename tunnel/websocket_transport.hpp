// WebsocketTransport: WireGuard's datagrams over one WebSocket connection, for networks that block
// UDP. It never pushes back: beyond its bound datagrams are dropped, as on any wire.
#pragma once

#include "core/loop.hpp"
#include "core/stream.hpp"
#include "tunnel/random_source.hpp"
#include "tunnel/websocket_frames.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace rooster::tunnel {

struct WebsocketHooks {
  /// One datagram; it may be changed in place.
  std::move_only_function<void(std::span<std::uint8_t> datagram)> received;
  /// A read's worth of datagrams has been received.
  std::move_only_function<void()> burst_ended;
};

class WebsocketTransport {
 public:
  static constexpr std::size_t kMaxQueuedBytes = 256 * 1024;

  /// `stream` has finished the HTTP upgrade; `input` was read behind it.
  WebsocketTransport(std::unique_ptr<Stream> stream, WebsocketRole role, std::string input,
                     WebsocketHooks hooks);
  ~WebsocketTransport();
  WebsocketTransport(const WebsocketTransport&) = delete;
  WebsocketTransport& operator=(const WebsocketTransport&) = delete;

  /// Moves bytes until the connection ends, which the Error tells of. While authenticate() has not
  /// been called, no longer than `patience`. Await or spawn it once.
  Task<> run(TaskGroup& group, Duration patience);
  /// The other side has shown that it is a peer.
  void authenticate() { authentic_ = true; }
  bool is_authentic() const { return authentic_; }

  /// Takes a datagram along with the next flush().
  void send(std::span<const std::uint8_t> datagram);
  void flush();
  /// Ends run() soon.
  void close();
  std::uint64_t dropped() const { return dropped_; }

 private:
  Result<> take(std::span<std::uint8_t> bytes);
  Result<> take_control(const WebsocketReader::Piece& piece);
  Result<bool> read_some();
  bool write_frame(WebsocketOpcode opcode, std::span<const std::uint8_t> payload);

  std::unique_ptr<Stream> stream_;
  WebsocketRole role_;
  std::string input_;
  WebsocketHooks hooks_;
  SystemRandom random_;
  WebsocketReader frames_;
  DatagramReader datagrams_;
  std::vector<std::uint8_t> outgoing_;  // of this burst
  std::string frame_;
  std::string control_;  // a ping's payload so far
  Waiter* waiter_ = nullptr;
  bool authentic_ = false;
  bool closing_ = false;
  bool sent_something_ = false;  // since the last second
  std::uint64_t dropped_ = 0;
};

/// The client's upgrade: sends the request over `stream` (TLS already) and reads the answer. What
/// came behind it is the result: the transport's `input`. Errors: UpstreamBadResponse with the
/// answer's first line, UpstreamReset, UpstreamTimeout at the deadline, the interruption's fault.
Task<std::string> upgrade_to_websocket(Stream& stream, std::string host, std::string path,
                                       Waiter& waiter, TimePoint deadline);

}  // namespace rooster::tunnel
