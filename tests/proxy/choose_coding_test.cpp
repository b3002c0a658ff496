#include "proxy/choose_coding.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace rooster::proxy {
namespace {

Coding chosen(const std::vector<std::string>& accept) {
  std::string bytes = "GET / HTTP/1.1\r\nHost: a\r\n";
  for (const std::string& value : accept) bytes += "Accept-Encoding: " + value + "\r\n";
  bytes += "\r\n";
  RequestHead head;
  EXPECT_EQ(parse_request_head(bytes, head).status, ParseStatus::Complete);
  return choose_coding(head);
}

TEST(ChooseCoding, TakesTheClientsDearest) {
  using enum Coding;
  EXPECT_EQ(chosen({}), Identity);
  EXPECT_EQ(chosen({""}), Identity);
  EXPECT_EQ(chosen({"gzip, deflate, br, zstd"}), Zstd);
  EXPECT_EQ(chosen({"gzip, deflate, br"}), Brotli);
  EXPECT_EQ(chosen({"gzip;q=1.0, br;q=0.5"}), Gzip);
  EXPECT_EQ(chosen({"br;q=0.9, zstd;q=0.9, gzip;q=0.89"}), Zstd);
  EXPECT_EQ(chosen({"gzip", "zstd;q=0.2"}), Gzip);
  EXPECT_EQ(chosen({"X-GZIP"}), Gzip);
  EXPECT_EQ(chosen({"deflate, compress"}), Identity);
}

TEST(ChooseCoding, AWeightOfZeroForbids) {
  using enum Coding;
  EXPECT_EQ(chosen({"gzip;q=0"}), Identity);
  EXPECT_EQ(chosen({"gzip; q=0.000, br"}), Brotli);
  EXPECT_EQ(chosen({"*"}), Zstd);
  EXPECT_EQ(chosen({"*, zstd;q=0"}), Brotli);
  EXPECT_EQ(chosen({"*;q=0, gzip;q=0.1"}), Gzip);
  EXPECT_EQ(chosen({"*;q=0"}), Identity);
}

TEST(ChooseCoding, IdentityWinsOnlyWhereItIsDearer) {
  using enum Coding;
  EXPECT_EQ(chosen({"identity;q=1, gzip;q=0.5"}), Identity);
  EXPECT_EQ(chosen({"identity, gzip"}), Gzip);
  EXPECT_EQ(chosen({"identity;q=0.1, gzip;q=0.5"}), Gzip);
  EXPECT_EQ(chosen({"identity"}), Identity);
}

TEST(ChooseCoding, AWeightThatIsNoneMakesTheElementNone) {
  using enum Coding;
  EXPECT_EQ(chosen({"gzip;q=2"}), Identity);
  EXPECT_EQ(chosen({"gzip;q=0.1234"}), Identity);
  EXPECT_EQ(chosen({"gzip;q="}), Identity);
  EXPECT_EQ(chosen({"gzip;level=1"}), Identity);
  EXPECT_EQ(chosen({"gzip;q=1.001, br;q=0.001"}), Brotli);
}

TEST(IsCompressibleType, TextIsAndPicturesAreNot) {
  for (const char* type :
       {"text/html", "Text/HTML; charset=utf-8", "application/json", "application/problem+json",
        "image/svg+xml", "application/wasm", "text/css ;x=y"}) {
    EXPECT_TRUE(is_compressible_type(type)) << type;
  }
  for (const char* type : {"", "image/png", "video/mp4", "application/octet-stream", "font/woff2",
                           "application/zip", "application/grpc", "text/event-stream",
                           "text/event-stream;charset=utf-8", "application/grpc+proto"}) {
    EXPECT_FALSE(is_compressible_type(type)) << type;
  }
}

bool may(std::string_view fields, std::string_view status = "200 OK",
         const std::vector<config::HeaderRule>& rules = {}) {
  const std::string bytes = "HTTP/1.1 " + std::string(status) + "\r\nContent-Type: text/html\r\n" +
                            std::string(fields) + "\r\n";
  ResponseHead head;
  EXPECT_EQ(parse_response_head(bytes, {}, head).status, ParseStatus::Complete) << bytes;
  return may_be_compressed(head, rules);
}

TEST(MayBeCompressed, NeverAgainstTheAppsWord) {
  EXPECT_TRUE(may(""));
  EXPECT_TRUE(may("", "404 Not Found"));
  EXPECT_FALSE(may("Content-Encoding: br\r\n"));
  EXPECT_FALSE(may("Content-Encoding: none\r\n"));
  EXPECT_FALSE(may("Content-Encoding: identity\r\n"));
  EXPECT_FALSE(may("Cache-Control: max-age=3, No-Transform\r\n"));
  EXPECT_TRUE(may("Cache-Control: max-age=3\r\n"));
  EXPECT_FALSE(may("Repr-Digest: sha-256=:x:\r\n"));
  EXPECT_FALSE(may("Content-MD5: x\r\n"));
}

TEST(MayBeCompressed, NeverAPartOrNothing) {
  EXPECT_FALSE(may("", "204 No Content"));
  EXPECT_FALSE(may("", "304 Not Modified"));
  EXPECT_FALSE(may("Content-Range: bytes 0-1/2\r\n", "206 Partial Content"));
  EXPECT_FALSE(may("Content-Range: bytes */2\r\n", "416 Range Not Satisfiable"));
}

TEST(MayBeCompressed, NeverWhereARuleSetsTheEncoding) {
  EXPECT_FALSE(may("", "200 OK", {{.name = "Content-Encoding", .values = {{"x"}}}}));
  EXPECT_TRUE(may("", "200 OK", {{.name = "X-Other", .values = {{"x"}}}}));
}

}  // namespace
}  // namespace rooster::proxy
