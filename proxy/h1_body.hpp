// BodyReader: follows one HTTP/1 body through the bytes as they come, whatever its framing.
#pragma once

#include "proxy/chunked.hpp"
#include "proxy/field.hpp"
#include "proxy/sides.hpp"

#include <algorithm>
#include <cstdint>
#include <string_view>

namespace rooster::proxy {

class BodyReader {
 public:
  void begin(Framing framing) {
    framing_ = framing;
    left_ = framing.kind == BodyKind::Length ? framing.length : 0;
    if (framing.kind == BodyKind::Chunked) chunked_.reset();
  }

  /// Goes through `input`. The piece lies in `input`; `consumed` of it are done with, framing
  /// included. Later: all of it was consumed and gave no payload.
  BodyPiece take(std::string_view input, std::size_t& consumed) {
    using enum BodyPiece::State;
    switch (framing_.kind) {
      case BodyKind::None:
        consumed = 0;
        return {End, {}};
      case BodyKind::UntilClose:
        consumed = input.size();
        return {input.empty() ? Later : More, input};
      case BodyKind::Length: {
        consumed = static_cast<std::size_t>(std::min<std::uint64_t>(left_, input.size()));
        left_ -= consumed;
        const std::string_view bytes = input.substr(0, consumed);
        if (left_ == 0) return {End, bytes};
        return {bytes.empty() ? Later : More, bytes};
      }
      case BodyKind::Chunked:
        return take_chunk(input, consumed);
    }
    return {Failed, {}, Fault::Internal};
  }

  bool is_done() const {
    switch (framing_.kind) {
      case BodyKind::None:
        return true;
      case BodyKind::Length:
        return left_ == 0;
      case BodyKind::Chunked:
        return chunked_.is_done();
      case BodyKind::UntilClose:
        return false;
    }
    return true;
  }
  const Framing& framing() const { return framing_; }
  /// Of a Length body: what is still to come.
  std::uint64_t left() const { return left_; }
  std::span<const Field> trailers() const {
    if (framing_.kind == BodyKind::Chunked) return chunked_.trailers();
    return {};
  }

 private:
  BodyPiece take_chunk(std::string_view input, std::size_t& consumed) {
    using enum BodyPiece::State;
    consumed = 0;
    while (true) {
      const ChunkedDecoder::Step step = chunked_.decode(input.substr(consumed));
      consumed += step.consumed;
      if (step.status == ParseStatus::Invalid) return {Failed, {}, Fault::BadChunk};
      if (step.status == ParseStatus::Complete) return {End, step.payload};
      if (!step.payload.empty()) return {More, step.payload};
      if (consumed == input.size()) return {Later, {}};
    }
  }

  Framing framing_;
  std::uint64_t left_ = 0;
  ChunkedDecoder chunked_;
};

/// Writes one piece of body in `framing` (Chunked: with its header) into `out`.
template <class Out>
bool write_piece(Out& out, BodyKind framing, std::string_view bytes) {
  if (bytes.empty()) return true;
  if (framing != BodyKind::Chunked) {
    // Copying beside the head spares a send (a TLS record); past one record the copy costs more.
    constexpr std::size_t kWorthCopying = 14 * 1024;
    return bytes.size() <= kWorthCopying ? out.append(bytes) : out.write_through(bytes);
  }
  char header[kMaxChunkHeader];
  const std::size_t size = write_chunk_header(header, bytes.size());
  return out.append({header, size}) && out.append(bytes) && out.append("\r\n");
}

/// Ends a body in `framing`.
template <class Out>
bool write_end(Out& out, BodyKind framing, std::span<const Field> trailers) {
  if (framing != BodyKind::Chunked) return true;
  const std::span<char> room = out.room(kMaxTrailerBytes + 64);
  out.produced(write_last_chunk(room.data(), room.size(), trailers));
  return true;
}

}  // namespace rooster::proxy
