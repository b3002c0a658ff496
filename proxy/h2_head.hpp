// HTTP/2 heads as HTTP/1.1 ones and back: a header block becomes the text that the one strict
// parser reads, so that both versions are vetted, routed and forwarded by the same rules; a
// response head is taken apart into fields. Pure.
#pragma once

#include "core/fault.hpp"
#include "core/limits.hpp"

#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::proxy {

/// One header block of a request, or of its trailers, as it comes. Blocks are never interleaved on
/// a connection (RFC 9113 §4.3), so one of these serves it all.
class H2HeadReader {
 public:
  void begin();
  /// The next field. Whatever is wrong with it shows in finish(); a block that is too long is not
  /// kept.
  void add(std::string_view name, std::string_view value);
  /// Fields that were counted so far; they are even when they are not kept.
  std::size_t fields() const { return count_; }

  struct Result {
    Fault fault = Fault::None;
    bool is_extended_connect = false;  ///< RFC 8441: the stream's bytes are a WebSocket's
    std::string text;                  ///< an HTTP/1.1 head, for parse_request_head()
  };
  /// `has_body`: the block did not end the stream. `random`: for the key of a
  /// WebSocket's handshake, which nobody has to guess.
  Result finish(bool has_body, std::uint64_t random);
  /// The block as lines of trailers: "name: value\r\n" each.
  std::string_view trailers() const { return fields_; }

 private:
  void add_pseudo(std::string_view name, std::string_view value);
  Fault judge(std::string_view& authority) const;

  std::string method_;
  std::string scheme_;
  std::string authority_;
  std::string path_;
  std::string protocol_;
  std::string host_;
  std::string cookie_;
  std::string fields_;
  std::size_t bytes_ = 0;
  std::size_t count_ = 0;
  bool has_length_ = false;
  bool has_host_ = false;
  Fault fault_ = Fault::None;
};

/// Takes an HTTP/1.1 response head of our own writing apart: `:status` first, names in lower case,
/// what only means something to a connection left out. `head` is changed, and the fields point into
/// it. A 101 becomes the 200 of RFC 8441 §5. False: it is no such head.
bool to_h2_fields(std::span<char> head, std::vector<nghttp2_nv>& fields);

/// Lines of "name: value\r\n" (trailers), the same way.
void to_h2_trailers(std::span<char> lines, std::vector<nghttp2_nv>& fields);

}  // namespace rooster::proxy
