// The states of a chunked body:
//
//   SizeFirst -> Size -> [Extension] -> SizeLf -> Payload -> PayloadCr -> PayloadLf -> SizeFirst
//                                         | size 0
//                                         v
//                    TrailerStart -> Trailer -> TrailerLf -> TrailerStart
//                         | CR
//                         v
//                       EndLf -> Done              anything unexpected -> Broken
#include "proxy/chunked.hpp"

#include "proxy/head_line.hpp"
#include "proxy/head_writer.hpp"

#include <algorithm>
#include <charconv>

namespace rooster::proxy {
namespace {

constexpr std::uint8_t kMaxSizeDigits = 16;

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const int lower = c | 0x20;
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// Quoted or not, an extension holds no CR or LF: one that another parser would end elsewhere is
// refused.
bool is_extension_byte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte >= 0x20 && byte != 0x7F) || byte == '\t';
}

}  // namespace

ChunkedDecoder::Step ChunkedDecoder::decode(std::string_view input) {
  std::size_t at = 0;
  while (at < input.size()) {
    if (state_ == State::Payload) {
      const auto taken =
          static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, input.size() - at));
      remaining_ -= taken;
      if (remaining_ == 0) state_ = State::PayloadCr;
      return {at + taken, input.substr(at, taken), ParseStatus::NeedMore};
    }
    if (state_ == State::Done) break;
    control_byte(input[at]);
    if (state_ == State::Broken) return {at, {}, ParseStatus::Invalid};
    ++at;
  }
  if (state_ == State::Broken) return {at, {}, ParseStatus::Invalid};
  return {at, {}, state_ == State::Done ? ParseStatus::Complete : ParseStatus::NeedMore};
}

void ChunkedDecoder::control_byte(char byte) {
  switch (state_) {
    case State::SizeFirst:
    case State::Size:
      size_byte(byte);
      break;
    case State::Extension:
      if (byte == '\r') {
        state_ = State::SizeLf;
      } else if (!is_extension_byte(byte) || ++extension_bytes_ > kMaxExtensionBytes) {
        state_ = State::Broken;
      }
      break;
    case State::SizeLf:
      if (byte != '\n') {
        state_ = State::Broken;
      } else {
        state_ = remaining_ == 0 ? State::TrailerStart : State::Payload;
      }
      break;
    case State::PayloadCr:
      state_ = byte == '\r' ? State::PayloadLf : State::Broken;
      break;
    case State::PayloadLf:
      state_ = byte == '\n' ? State::SizeFirst : State::Broken;
      digits_ = 0;
      break;
    case State::Payload:
    case State::Done:
    case State::Broken:
      break;
    default:
      trailer_byte(byte);
      break;
  }
}

void ChunkedDecoder::size_byte(char byte) {
  const int value = hex_value(byte);
  if (value >= 0 && digits_ < kMaxSizeDigits) {
    remaining_ = remaining_ * 16 + static_cast<std::uint64_t>(value);
    ++digits_;
    state_ = remaining_ > static_cast<std::uint64_t>(INT64_MAX) ? State::Broken : State::Size;
  } else if (state_ == State::SizeFirst) {
    state_ = State::Broken;
  } else if (byte == '\r') {
    state_ = State::SizeLf;
  } else {
    // No blank before the semicolon: BWS that no client sends and that parsers treat differently.
    state_ = byte == ';' ? State::Extension : State::Broken;
  }
}

void ChunkedDecoder::trailer_byte(char byte) {
  switch (state_) {
    case State::TrailerStart:
    case State::Trailer:
      if (byte == '\r') {
        state_ = state_ == State::TrailerStart ? State::EndLf : State::TrailerLf;
        break;
      }
      if (byte == '\n' || (state_ == State::TrailerStart && ++trailer_lines_ > kMaxTrailerFields)) {
        state_ = State::Broken;
        break;
      }
      trailer_text_.push_back(byte);
      state_ = trailer_text_.size() > kMaxTrailerBytes ? State::Broken : State::Trailer;
      break;
    case State::TrailerLf:
      trailer_text_.push_back('\n');
      state_ = byte == '\n' ? State::TrailerStart : State::Broken;
      break;
    case State::EndLf:
      state_ = byte == '\n' && end_of_trailers() ? State::Done : State::Broken;
      break;
    default:
      break;
  }
}

bool ChunkedDecoder::end_of_trailers() {
  std::string_view rest = trailer_text_;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    Field field;
    if (end == std::string_view::npos || !is_field_text(line) || !split_field(line, field))
      return false;
    if (may_be_trailer(field)) trailers_.push_back(field);
    rest.remove_prefix(end + 1);
  }
  return true;
}

void ChunkedDecoder::reset() {
  state_ = State::SizeFirst;
  digits_ = 0;
  trailer_lines_ = 0;
  extension_bytes_ = 0;
  remaining_ = 0;
  trailer_text_.clear();
  trailers_.clear();
}

std::size_t write_chunk_header(char* out, std::uint64_t size) {
  char* end = std::to_chars(out, out + kMaxChunkHeader - 2, size, 16).ptr;
  *end++ = '\r';
  *end++ = '\n';
  return static_cast<std::size_t>(end - out);
}

std::size_t write_last_chunk(char* out, std::size_t capacity, std::span<const Field> trailers) {
  HeadWriter writer(out, capacity);
  writer.text("0\r\n");
  for (const Field& field : trailers) writer.field(field.name, field.value);
  writer.text("\r\n");
  return writer.size();
}

}  // namespace rooster::proxy
