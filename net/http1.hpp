// Reading and writing HTTP/1.1 messages without I/O. http1.cpp is the one file that includes
// Boost.Beast: its parser by put(), none of its asynchronous algorithms.
#pragma once

#include "core/error.hpp"
#include "net/http_message.hpp"

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace rooster::net {

/// Reads one request.
class RequestReader {
 public:
  RequestReader(std::size_t head_bytes, std::size_t body_bytes);
  ~RequestReader();
  RequestReader(RequestReader&&) noexcept;

  /// Takes from `bytes` what belongs to the request and returns how much that was; give the rest
  /// again with more behind it. Errors: BadRequest, HeadTooLarge, BodyTooLarge.
  Result<std::size_t> put(std::string_view bytes);
  bool has_head() const;
  bool is_done() const;
  /// The client waits for "100 Continue" before it sends the body.
  bool expects_continue() const;
  /// May the connection be used again? Known with the head.
  bool keeps_alive() const;
  bool is_http_1_0() const;
  HttpRequest take();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Reads one response; interim ones (1xx) are skipped.
class ResponseReader {
 public:
  /// `to_head`: it answers a HEAD request and has no body.
  ResponseReader(std::size_t head_bytes, std::size_t body_bytes, bool to_head);
  ~ResponseReader();
  ResponseReader(ResponseReader&&) noexcept;

  /// As RequestReader::put. Errors: UpstreamBadResponse.
  Result<std::size_t> put(std::string_view bytes);
  /// The connection ended: completes a body that is framed by it. Errors: UpstreamTruncated,
  /// UpstreamReset.
  Result<> end();
  bool has_head() const;
  bool is_done() const;
  bool keeps_alive() const;
  int status() const;
  /// What of the body has come since the last call.
  std::string take_body();
  /// With the rest of the body.
  HttpResponse take();

 private:
  struct Impl;
  void begin();
  std::unique_ptr<Impl> impl_;
};

/// The whole of a request: Host, Content-Length and the body included. Fields that hold control
/// characters are left out: they could begin another message.
std::string encode_request(const HttpRequest& request, std::string_view host);

/// How a response's body is framed.
enum class Framing : std::uint8_t { Length, Chunked, UntilClose };
/// A response's head. `length` counts for Framing::Length.
std::string encode_response_head(int status, const Fields& fields, Framing framing,
                                 std::size_t length, bool keep_alive);
/// The head after which the connection is no longer HTTP's: 101, or 200 to a CONNECT.
std::string encode_upgrade_head(int status, const Fields& fields);
/// `text` as one chunk (RFC 9112 §7.1); must not be empty.
std::string encode_chunk(std::string_view text);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

}  // namespace rooster::net
