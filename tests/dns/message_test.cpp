#include "dns/message.hpp"

#include "dns/lookup.hpp"
#include "dns/name.hpp"
#include "dns/reply.hpp"
#include "dns/response.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rooster::dns {
namespace {

using ::testing::HasSubstr;

std::string wire(std::string_view text) {
  return name_from_text(text).value_or("none");
}

TEST(Name, TextAndWireAreEachOthersReverse) {
  for (const char* text : {".", "a.", "web.internal.", "a\\.b.c.", "\\000\\255.x.", "\\\\.y.",
                           "_api.internal.", "WeB.InTernal."}) {
    EXPECT_EQ(name_to_text(wire(text)), text);
  }
  EXPECT_EQ(wire("web.internal"), std::string("\3web\10internal\0", 14));
  EXPECT_EQ(name_to_text(wire("\\097b")), "ab.");
}

TEST(Name, WhatIsNoNameIsRefused) {
  const std::string label(64, 'x');
  std::string almost;
  for (int i = 0; i < 127; ++i) almost += "a.";
  for (const std::string& text :
       {std::string(), std::string("a..b"), std::string(".a"), label, std::string("a\\"),
        std::string("a\\25"), std::string("a\\256"), almost + "b"}) {
    EXPECT_FALSE(name_from_text(text)) << text;
  }
  EXPECT_TRUE(name_from_text(almost));
  EXPECT_TRUE(name_from_text(std::string(63, 'x')));
}

/// A header with these counts, then `rest`.
std::string message(std::string_view counts, std::string_view rest, char flags = '\x80') {
  std::string bytes("\0\7", 2);
  bytes += flags;
  bytes += '\0';
  for (const char count : counts) bytes += std::string(1, '\0') + static_cast<char>(count - '0');
  return bytes + std::string(rest);
}

std::string bytes(const char* text, std::size_t size) {
  return {text, size};
}

TEST(Reader, PointersMustLeadBackwards) {
  const auto read = [](const std::string& owner) {
    return read_response(message("0100", owner + bytes("\0\1\0\1\0\0\0\5\0\4abcd", 14)));
  };
  EXPECT_TRUE(read(std::string("\1a\0", 3)));
  EXPECT_FALSE(read("\xc0\x0c"));     // to itself
  EXPECT_FALSE(read("\1a\xc0\x0c"));  // to its own beginning
  EXPECT_FALSE(read("\xc0\x20"));     // forward
  EXPECT_FALSE(read("\xc0\x02"));     // into the header
  EXPECT_FALSE(read("\xff\xff"));     // past the end
  EXPECT_FALSE(
      read("\x40"
           "a"));  // reserved label types
  EXPECT_FALSE(
      read("\x80"
           "a"));
}

TEST(Reader, PointersBackAreFollowedAndNamesStayShort) {
  const std::string first = bytes("\1a\0\0\1\0\1\0\0\0\5\0\4abcd", 17);
  const auto two =
      read_response(message("0200", first + bytes("\1b\xc0\x0c\0\1\0\1\0\0\0\5\0\4abcd", 18)));
  ASSERT_TRUE(two);
  EXPECT_EQ(name_to_text(two->section(Section::Answer)[1].owner), "b.a.");
  // 200 bytes that point to 100 more are too long together.
  std::string long_name;
  for (int i = 0; i < 50; ++i) long_name += "\1x";
  const std::string owner = long_name + '\0';
  std::string second;
  for (int i = 0; i < 100; ++i) second += "\1y";
  EXPECT_FALSE(
      read_response(message("0200", owner + bytes("\0\1\0\1\0\0\0\5\0\4abcd", 14) + second +
                                        "\xc0\x0c" + bytes("\0\1\0\1\0\0\0\5\0\4abcd", 14))));
}

TEST(Response, EveryByteMustBeInItsPlace) {
  const std::string record = bytes("\1a\0\0\1\0\1\0\0\0\5\0\4abcd", 17);
  const std::string good = message("0100", record);
  ASSERT_TRUE(read_response(good));
  for (std::size_t length = 0; length < good.size(); ++length) {
    EXPECT_FALSE(read_response(good.substr(0, length))) << length;
  }
  EXPECT_FALSE(read_response(good + "x"));
  EXPECT_FALSE(read_response(message("0100", record, '\0')));  // a query
  const std::string opt = bytes("\0\0\51\4\xd0\0\0\0\0\0\0", 11);
  EXPECT_TRUE(read_response(message("0001", opt)));
  EXPECT_FALSE(read_response(message("0100", opt)));        // OPT among the answers
  EXPECT_FALSE(read_response(message("0002", opt + opt)));  // twice
  const std::string short_soa = bytes("\1a\0\0\6\0\1\0\0\0\5\0\4\0\0ab", 17);
  EXPECT_FALSE(read_response(message("0100", short_soa)));
}

TEST(Reply, CompressesNamesAndReadsBackTheSame) {
  const std::string question = *make_query({.name = "host.Web.internal", .type = type::kMx}, 9);
  const auto query = read_query(question);
  ASSERT_TRUE(query);
  const std::vector<Record> records = {
      {wire("host.Web.internal"), type::kMx, kClassIn, 5,
       bytes("\0\7", 2) + wire("a.Web.internal")},
      {wire("a.Web.internal"), type::kCname, kClassIn, 5, wire("b.a.Web.internal")},
      {wire("a.a.a.example"), type::kSoa, kClassIn, 5,
       wire("a.a.example") + wire("a.example") + std::string(20, '\1')},
      {wire("x.example"), type::kSrv, kClassIn, 5, std::string(6, '\2') + wire("a.example")},
  };
  std::string out(kMaxMessageBytes, '\xee');
  Reply reply(out, *query, Carrier::Stream);
  for (const Record& record : records) {
    EXPECT_TRUE(write_record(reply, Section::Answer, record, record.ttl));
  }
  out.resize(reply.finish());
  const auto read = read_response(out);
  ASSERT_TRUE(read);
  ASSERT_EQ(read->section(Section::Answer).size(), records.size());
  std::size_t plain = 0;
  for (std::size_t i = 0; i < records.size(); ++i) {
    EXPECT_EQ(read->section(Section::Answer)[i].owner, records[i].owner) << i;
    EXPECT_EQ(read->section(Section::Answer)[i].data, records[i].data) << i;
    plain += records[i].owner.size() + records[i].data.size() + 10;
  }
  EXPECT_LT(out.size(), question.size() + plain - 50);
  EXPECT_FALSE(answers(*read, *make_query({.name = "host.Web.internal"}, 9)));
  EXPECT_TRUE(answers(*read, question));
}

TEST(Reply, AnExplanationIsLeftOutWhereItDoesNotFit) {
  const std::string question =
      *make_query({.name = "a.example", .type = type::kTxt, .udp_bytes = 512}, 9);
  const auto query = read_query(question);
  for (const std::size_t text : {10u, 460u}) {
    std::string out(kMaxUdpBytes, '\0');
    Reply reply(out, *query, Carrier::Datagram);
    reply.begin(Section::Answer, query->name, type::kTxt, 5);
    reply.text(std::string(text - 2, 'x'));
    EXPECT_TRUE(reply.end()) << text;
    reply.explain(Explanation::Prohibited, "because");
    out.resize(reply.finish());
    EXPECT_LE(out.size(), 512u);
    const auto read = read_response(out);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->explanation_text, text == 10 ? "because" : "");
  }
}

TEST(Lookup, FramesAreTakenOneByOne) {
  std::string stream = frame("first") + frame("") + frame("third");
  std::string_view rest = stream;
  EXPECT_EQ(take_frame(rest), "first");
  EXPECT_EQ(take_frame(rest), "");
  std::string_view cut = rest.substr(0, rest.size() - 1);
  EXPECT_EQ(take_frame(cut), std::nullopt);
  EXPECT_EQ(take_frame(rest), "third");
  EXPECT_TRUE(rest.empty());
}

TEST(Lookup, PrintsAResponseAsDigDoes) {
  Response response{.id = 7,
                    .flags = 0x8580,
                    .rcode = 0,
                    .name = wire("web.internal"),
                    .type = type::kAaaa,
                    .klass = kClassIn};
  response.edns = Edns{};
  response.section(Section::Answer)
      .push_back({wire("web.internal"), type::kAaaa, kClassIn, 5,
                  bytes("\xfd\xaa\0\2\x78\xb0\x0a\x7b\0\1\0\0\0\1\0\2", 16)});
  EXPECT_EQ(to_text(response),
            ";; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 7\n"
            ";; flags: qr aa rd ra; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 1\n"
            "\n;; OPT PSEUDOSECTION:\n; EDNS: version: 0, flags:; udp: 1232\n"
            "\n;; QUESTION SECTION:\n;web.internal.\t\tIN\tAAAA\n"
            "\n;; ANSWER SECTION:\nweb.internal.\t5\tIN\tAAAA\tfdaa:2:78b0:a7b:1:0:1:2\n");
  EXPECT_EQ(short_lines(response), std::vector<std::string>{"fdaa:2:78b0:a7b:1:0:1:2"});
  EXPECT_EQ(addresses_in(response).size(), 1u);
}

TEST(Lookup, PrintsEveryKindOfData) {
  const auto text = [](std::uint16_t type, const std::string& data) {
    return data_to_text({.type = type, .data = data});
  };
  EXPECT_EQ(text(type::kA, "\xc0" + bytes("\0\2\1", 3)), "192.0.2.1");
  EXPECT_EQ(text(type::kTxt, bytes("\3a\"b\2\1c\0", 8)), "\"a\\\"b\" \"\\001c\" \"\"");
  EXPECT_EQ(text(type::kMx, bytes("\0\12", 2) + wire("mx.example")), "10 mx.example.");
  EXPECT_EQ(text(type::kSrv, bytes("\0\1\0\2\24\x38", 6) + wire("db.example")),
            "1 2 5176 db.example.");
  EXPECT_EQ(text(type::kPtr, wire("a.example")), "a.example.");
  EXPECT_EQ(text(257, bytes("\0\5issueca.example", 17)), "0 issue \"ca.example\"");
  EXPECT_EQ(text(65280, bytes("\1\xff", 2)), "\\# 2 01FF");
  // Data that is not what its type says is shown as bytes.
  EXPECT_EQ(text(type::kA, "abc"), "\\# 3 616263");
  EXPECT_EQ(text(type::kMx, "a"), "\\# 1 61");
  EXPECT_EQ(text(type::kTxt, "\5a"), "\\# 2 0561");
}

TEST(Lookup, TypesHaveTheirNames) {
  EXPECT_EQ(type_from_text("aaaa"), type::kAaaa);
  EXPECT_EQ(type_from_text("TYPE65280"), 65280);
  EXPECT_EQ(type_from_text("AAAA-NATIVE"), std::nullopt);
  EXPECT_EQ(type_from_text("TYPE65536"), std::nullopt);
  EXPECT_EQ(type_from_text(""), std::nullopt);
  EXPECT_EQ(type_to_text(type::kHttps), "HTTPS");
  EXPECT_EQ(rcode_to_text(3), "NXDOMAIN");
  EXPECT_EQ(reverse_name(*IpAddress::parse("192.0.2.1")), "1.2.0.192.in-addr.arpa");
  EXPECT_THAT(reverse_name(*IpAddress::parse("fdaa::3")), HasSubstr("3.0.0.0."));
}

}  // namespace
}  // namespace rooster::dns
