#include "proxy/chunked.hpp"

#include "proxy/request_head.hpp"
#include "tests/proxy/smuggling_corpus.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace rooster::proxy {
namespace {

struct Decoded {
  std::string payload;
  std::string rest;
  ParseStatus status = ParseStatus::NeedMore;
};

// Feeds `body` in pieces of `piece` bytes.
Decoded decode(ChunkedDecoder& decoder, std::string_view body, std::size_t piece) {
  Decoded result;
  while (!body.empty() && result.status == ParseStatus::NeedMore) {
    std::string_view input = body.substr(0, piece);
    while (!input.empty() && result.status == ParseStatus::NeedMore) {
      const auto step = decoder.decode(input);
      result.payload += step.payload;
      result.status = step.status;
      input.remove_prefix(step.consumed);
      body.remove_prefix(step.consumed);
    }
  }
  result.rest = body;
  return result;
}

TEST(ChunkedDecoder, GivesThePayloadInPiecesOfAnySize) {
  const std::string body =
      "5\r\nhello\r\n0006;name=\"va lue\";x\r\n world\r\nA\r\n0123456789\r\n000\r\n\r\nGET /";
  for (const std::size_t piece : {1U, 2U, 3U, 7U, 1000U}) {
    ChunkedDecoder decoder;
    const Decoded result = decode(decoder, body, piece);
    EXPECT_EQ(result.status, ParseStatus::Complete);
    EXPECT_EQ(result.payload, "hello world0123456789");
    EXPECT_EQ(result.rest, "GET /");
    EXPECT_TRUE(decoder.is_done());
    EXPECT_TRUE(decoder.trailers().empty());
  }
}

TEST(ChunkedDecoder, KeepsOnlyTrailersThatMayBe) {
  const std::string body =
      "1\r\nx\r\n0\r\ngrpc-status: 0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"
      "Host: evil\r\nAuthorization: x\r\nX-Forwarded-For: y\r\nConnection: close\r\nIf-Match: z\r\n"
      "Fly-Client-IP: 1\r\nSet-Cookie: a\r\nDigest: abc\r\n\r\n";
  for (const std::size_t piece : {1U, 1000U}) {
    ChunkedDecoder decoder;
    EXPECT_EQ(decode(decoder, body, piece).status, ParseStatus::Complete);
    ASSERT_EQ(decoder.trailers().size(), 2U);
    EXPECT_EQ(decoder.trailers()[0].name, "grpc-status");
    EXPECT_EQ(decoder.trailers()[0].value, "0");
    EXPECT_EQ(decoder.trailers()[1].name, "Digest");
  }
}

TEST(ChunkedDecoder, RefusesTheBodiesOfTheCorpus) {
  for (const SmugglingCase& item : smuggling_corpus()) {
    if (!item.in_body) continue;
    RequestHead head;
    ASSERT_EQ(parse_request_head(item.bytes, head).status, ParseStatus::Complete) << item.name;
    for (const std::size_t piece : {1U, 4U, 1000U}) {
      ChunkedDecoder decoder;
      const auto body = std::string_view(item.bytes).substr(head.head_bytes);
      EXPECT_EQ(decode(decoder, body, piece).status, ParseStatus::Invalid) << item.name;
      EXPECT_EQ(decoder.decode("0\r\n\r\n").status, ParseStatus::Invalid) << "broken for good";
    }
  }
}

TEST(ChunkedDecoder, IsBounded) {
  const auto status_of = [](const std::string& body) {
    ChunkedDecoder decoder;
    return decode(decoder, body, 4096).status;
  };
  EXPECT_EQ(status_of("7fffffffffffffff\r\n"), ParseStatus::NeedMore);
  EXPECT_EQ(status_of("8000000000000000\r\n"), ParseStatus::Invalid);
  EXPECT_EQ(status_of(std::string(17, '0') + "\r\n"), ParseStatus::Invalid);
  EXPECT_EQ(status_of("1;" + std::string(kMaxExtensionBytes + 1, 'x')), ParseStatus::Invalid);
  std::string many;
  for (std::uint32_t i = 0; i <= kMaxExtensionBytes / 4; ++i) many += "1;xxxx\r\na\r\n";
  EXPECT_EQ(status_of(many), ParseStatus::Invalid);
  EXPECT_EQ(status_of("0\r\nX: " + std::string(kMaxTrailerBytes, 'x')), ParseStatus::Invalid);
  std::string lines = "0\r\n";
  for (int i = 0; i <= kMaxTrailerFields; ++i) lines += "a: b\r\n";
  EXPECT_EQ(status_of(lines + "\r\n"), ParseStatus::Invalid);
}

TEST(ChunkedDecoder, BeginsAnewAfterReset) {
  ChunkedDecoder decoder;
  EXPECT_EQ(decode(decoder, "x", 1).status, ParseStatus::Invalid);
  decoder.reset();
  const Decoded result = decode(decoder, "1\r\na\r\n0\r\nT: 1\r\n\r\n", 5);
  EXPECT_EQ(result.status, ParseStatus::Complete);
  EXPECT_EQ(result.payload, "a");
  decoder.reset();
  EXPECT_TRUE(decoder.trailers().empty());
}

TEST(ChunkedEncoder, WritesWhatTheDecoderReads) {
  std::string body;
  std::array<char, kMaxChunkHeader> header;
  for (const std::size_t size : {1U, 15U, 16U, 255U, 4096U, 70000U}) {
    body.append(header.data(), write_chunk_header(header.data(), size));
    body += std::string(size, 'x') + "\r\n";
  }
  std::array<char, 200> last;
  const Field trailers[] = {{"Digest", "abc", FieldKind::Other},
                            {"Bad", "a\r\nb", FieldKind::Other}};
  body.append(last.data(), write_last_chunk(last.data(), last.size(), trailers));
  ChunkedDecoder decoder;
  const Decoded result = decode(decoder, body, 1000);
  EXPECT_EQ(result.status, ParseStatus::Complete);
  EXPECT_EQ(result.payload.size(), 1U + 15 + 16 + 255 + 4096 + 70000);
  ASSERT_EQ(decoder.trailers().size(), 1U);
  EXPECT_EQ(decoder.trailers()[0].value, "abc");
  EXPECT_EQ(write_last_chunk(last.data(), 4), 0U);
  EXPECT_EQ(write_chunk_header(header.data(), UINT64_MAX), kMaxChunkHeader);
}

}  // namespace
}  // namespace rooster::proxy
