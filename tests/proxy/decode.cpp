#include "tests/proxy/decode.hpp"

#include <gtest/gtest.h>

#include <brotli/decode.h>
#include <zlib.h>
#include <zstd.h>

namespace rooster::proxy::testing {
namespace {

Decoded inflate(std::string_view bytes) {
  Decoded decoded;
  z_stream stream{};
  EXPECT_EQ(::inflateInit2(&stream, 15 + 16), Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  char piece[16 * 1024];
  int result = Z_OK;
  while (result == Z_OK) {
    stream.next_out = reinterpret_cast<Bytef*>(piece);
    stream.avail_out = sizeof piece;
    result = ::inflate(&stream, Z_SYNC_FLUSH);
    decoded.text.append(piece, sizeof piece - stream.avail_out);
  }
  EXPECT_TRUE(result == Z_STREAM_END || result == Z_BUF_ERROR) << result;
  decoded.whole = result == Z_STREAM_END && stream.avail_in == 0;
  ::inflateEnd(&stream);
  return decoded;
}

Decoded unbrotli(std::string_view bytes) {
  Decoded decoded;
  BrotliDecoderState* const state = ::BrotliDecoderCreateInstance(nullptr, nullptr, nullptr);
  std::size_t left = bytes.size();
  const auto* next = reinterpret_cast<const std::uint8_t*>(bytes.data());
  auto result = BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT;
  while (result == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT ||
         ::BrotliDecoderHasMoreOutput(state) == BROTLI_TRUE) {
    std::uint8_t piece[16 * 1024];
    std::size_t room = sizeof piece;
    std::uint8_t* to = piece;
    result = ::BrotliDecoderDecompressStream(state, &left, &next, &room, &to, nullptr);
    decoded.text.append(reinterpret_cast<char*>(piece), sizeof piece - room);
  }
  EXPECT_NE(result, BROTLI_DECODER_RESULT_ERROR);
  decoded.whole = result == BROTLI_DECODER_RESULT_SUCCESS && left == 0;
  ::BrotliDecoderDestroyInstance(state);
  return decoded;
}

Decoded unzstd(std::string_view bytes) {
  Decoded decoded;
  ZSTD_DCtx* const context = ::ZSTD_createDCtx();
  ZSTD_inBuffer from{bytes.data(), bytes.size(), 0};
  std::size_t wanted = 1;
  while (wanted != 0) {
    char piece[16 * 1024];
    ZSTD_outBuffer to{piece, sizeof piece, 0};
    wanted = ::ZSTD_decompressStream(context, &to, &from);
    EXPECT_FALSE(::ZSTD_isError(wanted)) << ::ZSTD_getErrorName(wanted);
    if (::ZSTD_isError(wanted)) break;
    decoded.text.append(piece, to.pos);
    if (from.pos == from.size && to.pos < to.size) break;
  }
  decoded.whole = wanted == 0 && from.pos == from.size;
  ::ZSTD_freeDCtx(context);
  return decoded;
}

}  // namespace

Decoded decode(Coding coding, std::string_view bytes) {
  switch (coding) {
    case Coding::Identity:
      break;
    case Coding::Gzip:
      return inflate(bytes);
    case Coding::Brotli:
      return unbrotli(bytes);
    case Coding::Zstd:
      return unzstd(bytes);
  }
  return {std::string(bytes), true};
}

}  // namespace rooster::proxy::testing
