#include "proxy/proxy_protocol.hpp"

#include <gtest/gtest.h>

#include <string>

namespace rooster::proxy {
namespace {

using Status = ProxyHeader::Status;

Endpoint at(const char* address, std::uint16_t port) {
  return {*IpAddress::parse(address), port};
}

const Endpoints kFour{at("192.0.2.1", 56324), at("198.51.100.7", 443)};
const Endpoints kSix{at("2001:db8::1", 1), at("2001:db8::2", 65535)};

TEST(ProxyProtocol, MakesTheLinesOfVersion1) {
  EXPECT_EQ(make_proxy_v1(kFour), "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n");
  EXPECT_EQ(make_proxy_v1(kSix), "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n");
  EXPECT_EQ(make_proxy_v1({kFour.from, kSix.to}),
            "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 56324 65535\r\n");
}

TEST(ProxyProtocol, MakesTheBytesOfVersion2) {
  const std::string four = make_proxy_v2(kFour);
  const std::string expected = std::string("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", 16) +
                               std::string("\xC0\0\x02\x01\xC6\x33\x64\x07\xDC\x04\x01\xBB", 12);
  EXPECT_EQ(four, expected);
  EXPECT_EQ(make_proxy_v2(kSix).size(), 16u + 36u);
}

TEST(ProxyProtocol, ReadsWhatItMakesAtEveryLength) {
  for (const Endpoints& ends : {kFour, kSix, Endpoints{kSix.from, kFour.to}}) {
    for (const std::string& header : {make_proxy_v1(ends), make_proxy_v2(ends)}) {
      for (std::size_t size = 0; size < header.size(); ++size) {
        EXPECT_EQ(parse_proxy_header(header.substr(0, size)).status, Status::NeedMore) << size;
      }
      const ProxyHeader read = parse_proxy_header(header + "GET / HTTP/1.1\r\n");
      ASSERT_EQ(read.status, Status::Complete);
      EXPECT_EQ(read.bytes, header.size());
      EXPECT_EQ(read.ends, ends);
    }
  }
}

TEST(ProxyProtocol, WhoSpeaksForItselfGivesNoEnds) {
  const ProxyHeader unknown = parse_proxy_header("PROXY UNKNOWN 1 2 3 4\r\nrest");
  EXPECT_EQ(unknown.status, Status::Complete);
  EXPECT_EQ(unknown.bytes, 23u);
  EXPECT_FALSE(unknown.ends);
  EXPECT_FALSE(parse_proxy_header("PROXY UNKNOWN\r\n").ends);
  std::string local = make_proxy_v2(kFour);
  local[12] = '\x20';
  const ProxyHeader read = parse_proxy_header(local);
  EXPECT_EQ(read.status, Status::Complete);
  EXPECT_EQ(read.bytes, local.size());
  EXPECT_FALSE(read.ends);
}

TEST(ProxyProtocol, SkipsTheTlvsOfVersion2) {
  std::string header = make_proxy_v2(kFour) + std::string("\x04\0\x02zz", 5);
  header[15] = 12 + 5;
  const ProxyHeader read = parse_proxy_header(header + "x");
  ASSERT_EQ(read.status, Status::Complete);
  EXPECT_EQ(read.bytes, header.size());
  EXPECT_EQ(read.ends, kFour);
}

TEST(ProxyProtocol, RefusesWhatIsNoHeader) {
  for (const char* text :
       {"GET / HTTP/1.1\r\n", "PROXX", "proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n", "PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n", "PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n", "PROXY TCP4 ::1 ::2 1 2\r\n",
        "PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n", "PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n", "PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n"}) {
    EXPECT_EQ(parse_proxy_header(text).status, Status::Invalid) << text;
  }
  EXPECT_EQ(parse_proxy_header("PROXY " + std::string(200, 'x')).status, Status::Invalid);
  const std::string good = make_proxy_v2(kFour);
  for (const auto& [at, byte] :
       {std::pair{12, '\x11'}, std::pair{12, '\x22'}, std::pair{13, '\x12'}, std::pair{13, '\x31'},
        std::pair{14, '\x7F'}}) {
    std::string bad = good;
    bad[static_cast<std::size_t>(at)] = byte;
    EXPECT_EQ(parse_proxy_header(bad).status, Status::Invalid) << at;
  }
  std::string shorter = good;
  shorter[15] = 11;
  EXPECT_EQ(parse_proxy_header(shorter).status, Status::Invalid);
}

}  // namespace
}  // namespace rooster::proxy
