// Any bytes as a chunked body: in pieces of any size it gives the same payload, end and trailers;
// what is encoded again decodes to the same.
#include "proxy/chunked.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

namespace {

using namespace rooster::proxy;

void require(bool holds) {
  if (!holds) std::abort();
}

struct Decoded {
  std::string payload;
  std::size_t consumed = 0;
  ParseStatus status = ParseStatus::NeedMore;
};

Decoded decode(ChunkedDecoder& decoder, std::string_view body, std::size_t piece) {
  Decoded result;
  while (result.consumed < body.size() && result.status == ParseStatus::NeedMore) {
    const auto input = body.substr(result.consumed, piece);
    const auto step = decoder.decode(input);
    require(step.consumed <= input.size());
    require(step.consumed > 0 || step.status == ParseStatus::Invalid);
    require(step.payload.empty() ||
            (step.payload.data() >= input.data() &&
             step.payload.data() + step.payload.size() == input.data() + step.consumed));
    result.payload += step.payload;
    result.consumed += step.consumed;
    result.status = step.status;
  }
  return result;
}

std::string encode(const std::string& payload, std::span<const Field> trailers) {
  std::string body;
  std::array<char, kMaxChunkHeader> header;
  for (std::size_t at = 0; at < payload.size(); at += 100) {
    const std::string part = payload.substr(at, 100);
    body.append(header.data(), write_chunk_header(header.data(), part.size()));
    body += part + "\r\n";
  }
  std::string last(kMaxTrailerBytes + 1024, '\0');
  last.resize(write_last_chunk(last.data(), last.size(), trailers));
  require(!last.empty());
  return body + last;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  ChunkedDecoder whole;
  const Decoded expected = decode(whole, body, body.size());
  for (const std::size_t piece : {std::size_t{1}, std::size_t{5}}) {
    ChunkedDecoder decoder;
    const Decoded same = decode(decoder, body, piece);
    require(same.status == expected.status && same.payload == expected.payload);
    require(same.consumed == expected.consumed);
    require(decoder.trailers().size() == whole.trailers().size());
  }
  if (expected.status != ParseStatus::Complete) return 0;
  const std::string again = encode(expected.payload, whole.trailers());
  ChunkedDecoder second;
  const Decoded twice = decode(second, again, 64);
  require(twice.status == ParseStatus::Complete && twice.payload == expected.payload);
  require(second.trailers().size() == whole.trailers().size());
  return 0;
}
