// Compression: a response's head and body on their way to a client that takes them compressed
// (http_options.compress). What the app has flushed leaves at once: nothing waits for more to come.
#pragma once

#include "core/error.hpp"
#include "proxy/encoder.hpp"
#include "proxy/sides.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace rooster::proxy {

class Compression {
 public:
  Compression(EncoderStock& stock, std::unique_ptr<Encoder> encoder)
      : stock_(stock), encoder_(std::move(encoder)) {}
  ~Compression() { stock_.give(std::move(encoder_)); }
  Compression(const Compression&) = delete;
  Compression& operator=(const Compression&) = delete;

  /// Decides about this response and has `head` say so: Content-Encoding, Vary, a weak ETag, no
  /// length. Null: the body goes as it is; Vary may have been added all the same. What it puts into
  /// `head` lives as long as the Compression.
  static std::unique_ptr<Compression> begin(EncoderStock& stock, const RequestHead& request,
                                            ResponseHead& head,
                                            std::span<const config::HeaderRule> rules);

  /// Takes all of `bytes`.
  Result<> offer(ClientSide& client, std::string_view bytes) {
    return encode(client, bytes, Encoder::Then::More);
  }
  /// Gives the client all that was offered so far.
  Result<> flush(ClientSide& client) {
    if (!holds_) return {};
    return encode(client, {}, Encoder::Then::Flush);
  }
  /// Ends the coding; the body's own end is still to be told.
  Result<> finish(ClientSide& client) { return encode(client, {}, Encoder::Then::End); }

  /// How much went to the client.
  std::uint64_t bytes_out() const { return bytes_out_; }

 private:
  Result<> encode(ClientSide& client, std::string_view bytes, Encoder::Then then);
  void describe_in(ResponseHead& head);

  EncoderStock& stock_;
  std::unique_ptr<Encoder> encoder_;
  std::string etag_;
  std::uint64_t bytes_out_ = 0;
  bool holds_ = false;  // bytes that the client can't read yet
};

}  // namespace rooster::proxy
