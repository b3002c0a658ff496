#include "proxy/grpc.hpp"

#include "proxy/error_response.hpp"

#include <gtest/gtest.h>

#include <string>

namespace rooster::proxy {
namespace {

using namespace std::chrono_literals;

struct Call {
  explicit Call(const std::string& fields, const std::string& method = "POST")
      : text(method + " /a.B/C HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n" + fields + "\r\n") {
    EXPECT_EQ(parse_request_head(text, head).status, ParseStatus::Complete);
  }
  std::string text;
  RequestHead head;
};

TEST(Grpc, IsKnownByItsContentType) {
  for (const char* type : {"application/grpc", "application/grpc+proto", "application/grpc-web",
                           "application/grpc; charset=utf-8", "Application/GRPC"}) {
    const Call call(std::string("Content-Type: ") + type + "\r\n");
    EXPECT_EQ(grpc_type(call.head), type);
  }
  for (const char* type : {"application/grpcx", "application/json", "application/grp"}) {
    const Call call(std::string("Content-Type: ") + type + "\r\n");
    EXPECT_EQ(grpc_type(call.head), "");
  }
  EXPECT_EQ(grpc_type(Call("").head), "");
  EXPECT_EQ(grpc_type(Call("Content-Type: application/grpc\r\n", "PUT").head), "");
}

TEST(Grpc, TimeoutsHaveAUnit) {
  const auto read = [](const std::string& text) {
    return grpc_timeout(Call("grpc-timeout: " + text + "\r\n").head);
  };
  EXPECT_EQ(read("100m"), 100ms);
  EXPECT_EQ(read("3S"), 3s);
  EXPECT_EQ(read("2M"), 2min);
  EXPECT_EQ(read("1H"), 1h);
  EXPECT_EQ(read("99999999u"), 99999999us);
  EXPECT_EQ(read("0n"), 0ns);
  for (const char* bad : {"100", "m", "1.5S", "-1S", "100000000m", "99999999H", "1x", "1 S"}) {
    EXPECT_EQ(read(bad), std::nullopt) << bad;
  }
  EXPECT_EQ(grpc_timeout(Call("").head), std::nullopt);
}

TEST(Grpc, OurErrorsAreStatusesOfGrpc) {
  EXPECT_EQ(grpc_status(Fault::UpstreamRefused, false), 14);
  EXPECT_EQ(grpc_status(Fault::WakeTimeout, false), 14);
  EXPECT_EQ(grpc_status(Fault::WakeTimeout, true), 4);
  EXPECT_EQ(grpc_status(Fault::UpstreamTimeout, false), 4);
  EXPECT_EQ(grpc_status(Fault::NoRoute, false), 12);
  EXPECT_EQ(grpc_status(Fault::HeadTooLarge, false), 8);
}

TEST(Grpc, MessagesArePercentEncoded) {
  EXPECT_EQ(grpc_message("50% of it\n\xC3\xA9"), "50%25 of it%0A%C3%A9");
}

TEST(Grpc, ARefusalIsTrailersOnly) {
  const std::string refusal = write_refusal(
      {.fault = Fault::UpstreamRefused, .request_id = "r1", .grpc_type = "application/grpc+proto"});
  EXPECT_TRUE(refusal.starts_with("HTTP/1.1 200 OK\r\n")) << refusal;
  EXPECT_TRUE(refusal.ends_with("\r\n\r\n"));
  EXPECT_NE(refusal.find("Content-Type: application/grpc+proto\r\n"), std::string::npos);
  EXPECT_NE(refusal.find("Grpc-Status: 14\r\n"), std::string::npos);
  EXPECT_NE(refusal.find("Rooster-Fault: upstream_refused\r\n"), std::string::npos);
  EXPECT_EQ(write_refusal({.fault = Fault::ClientLeft, .grpc_type = "application/grpc"}), "");
}

TEST(Grpc, WhatCannotStandInAFieldIsNotRepeated) {
  const std::string refusal =
      write_refusal({.fault = Fault::NoRoute, .grpc_type = "application/grpc; x=\r\nA: b"});
  EXPECT_NE(refusal.find("Content-Type: application/grpc\r\n"), std::string::npos);
}

}  // namespace
}  // namespace rooster::proxy
