// The chunked coding (RFC 9112 §7.1), both ways, without I/O. Payload is never copied: it is shown
// in place.
#pragma once

#include "proxy/field.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::proxy {

/// Decodes one chunked body from pieces of any size. Extensions are dropped, trailers kept if they
/// may be trailers.
class ChunkedDecoder {
 public:
  struct Step {
    std::size_t consumed = 0;  ///< bytes of the input that are done with, payload included
    std::string_view payload;  ///< contiguous, inside the input; may be empty
    ParseStatus status = ParseStatus::NeedMore;  ///< Complete: the body is over, the rest isn't its
  };

  /// Goes through `input` up to the end of the next piece of payload. Call with what is left until
  /// `consumed` is all of it, or the status isn't NeedMore.
  Step decode(std::string_view input);

  bool is_done() const { return state_ == State::Done; }
  /// Trailer fields, after Complete; framing, routing, trust and hop-by-hop ones left out. Valid
  /// until reset().
  std::span<const Field> trailers() const { return trailers_; }
  void reset();

 private:
  enum class State : std::uint8_t {
    SizeFirst,
    Size,
    Extension,
    SizeLf,
    Payload,
    PayloadCr,
    PayloadLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
    Broken,
  };
  void control_byte(char byte);
  void size_byte(char byte);
  void trailer_byte(char byte);
  bool end_of_trailers();

  State state_ = State::SizeFirst;
  std::uint8_t digits_ = 0;
  std::uint16_t trailer_lines_ = 0;
  std::uint32_t extension_bytes_ = 0;  // over the whole body: no unbounded stream of nothing
  std::uint64_t remaining_ = 0;
  std::string trailer_text_;  // lines with their CRLF; empty in nearly every body
  std::vector<Field> trailers_;
};

inline constexpr std::size_t kMaxChunkHeader = 18;  // 16 digits and CRLF
inline constexpr std::size_t kMaxTrailerBytes = 8 * 1024;
inline constexpr std::uint16_t kMaxTrailerFields = 32;
inline constexpr std::uint32_t kMaxExtensionBytes = 16 * 1024;

/// Writes "<size>\r\n"; `out` holds kMaxChunkHeader. A payload must be followed by "\r\n". `size`
/// must not be 0.
std::size_t write_chunk_header(char* out, std::uint64_t size);

/// Writes the last chunk, with trailers if there are any. 0: does not fit into `capacity`.
std::size_t write_last_chunk(char* out, std::size_t capacity, std::span<const Field> trailers = {});

}  // namespace rooster::proxy
