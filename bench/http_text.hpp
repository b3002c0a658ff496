// The little HTTP that the bench programs speak: both ends are ours, so lengths and names are
// enough.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace rooster::bench {

/// Value of the first field called `name` (lower case) in a head; empty when there is none.
std::string_view field_value(std::string_view head, std::string_view name);

/// Sec-WebSocket-Accept for a key (RFC 6455 §4.2.2).
std::string websocket_accept(std::string_view key);

/// Counts one response out of a byte stream: head, then Content-Length or chunked body.
class ResponseReader {
 public:
  enum class Progress : std::uint8_t { More, Done, Bad };

  void begin();
  /// Takes bytes; `used` says how many belong to this response.
  Progress take(std::string_view bytes, std::size_t& used);

  int status() const { return status_; }
  std::uint64_t body_bytes() const { return body_bytes_; }
  const std::string& head() const { return head_; }
  /// The body's first 256 bytes.
  const std::string& body_start() const { return body_start_; }

 private:
  enum class Part : std::uint8_t { Head, Counted, ChunkSize, ChunkBody, ChunkEnd, Trailers };

  Progress after_head();
  Progress take_line(char byte);
  void keep(std::string_view body);

  Part part_ = Part::Head;
  std::string head_;
  std::string line_;
  std::string body_start_;
  int status_ = 0;
  std::uint64_t left_ = 0;
  std::uint64_t body_bytes_ = 0;
};

}  // namespace rooster::bench
