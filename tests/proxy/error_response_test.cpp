#include "proxy/error_response.hpp"

#include <gtest/gtest.h>

#include <string>

namespace rooster::proxy {
namespace {

using namespace std::chrono_literals;

bool has_field(const std::string& response, const std::string& line) {
  const std::size_t end = response.find("\r\n\r\n");
  return response.substr(0, end + 2).find("\r\n" + line + "\r\n") != std::string::npos;
}

std::string body_of(const std::string& response) {
  return response.substr(response.find("\r\n\r\n") + 4);
}

TEST(ErrorResponse, SaysWhyOnce) {
  const std::string response = write_refusal(
      {.fault = Fault::WakeBackoff, .request_id = "01ABC-gru", .app = "hello", .retry_after = 8s});
  EXPECT_TRUE(response.starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
  EXPECT_TRUE(has_field(response, "Rooster-Fault: wake_backoff"));
  EXPECT_TRUE(has_field(response, "Fly-Request-Id: 01ABC-gru"));
  EXPECT_TRUE(has_field(response, "Retry-After: 8"));
  EXPECT_TRUE(has_field(response, "Cache-Control: no-store"));
  EXPECT_TRUE(has_field(response, "Content-Type: application/json"));
  const std::string body = body_of(response);
  EXPECT_TRUE(has_field(response, "Content-Length: " + std::to_string(body.size())));
  EXPECT_EQ(body, R"({"status":503,"error":"wake_backoff","code":"PM02","message":")" +
                      std::string(describe(Fault::WakeBackoff).hint) +
                      R"(","app":"hello","retry_after":8,"request_id":"01ABC-gru"})" + "\n");
}

TEST(ErrorResponse, IsHtmlOnlyForWhoAsksForIt) {
  for (const char* accept : {"text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", "TEXT/HTML"}) {
    const std::string response = write_refusal({.fault = Fault::NoRoute, .accept = accept});
    EXPECT_TRUE(has_field(response, "Content-Type: text/html; charset=utf-8"));
    EXPECT_TRUE(body_of(response).starts_with("<!doctype html>"));
  }
  for (const char* accept : {"", "*/*", "application/json", "application/grpc"}) {
    const std::string response = write_refusal({.fault = Fault::NoRoute, .accept = accept});
    EXPECT_TRUE(has_field(response, "Content-Type: application/json"));
  }
}

TEST(ErrorResponse, NamesNothingOutsideItself) {
  const ErrorPage page = make_error_page({.fault = Fault::WakeTimeout, .accept = "text/html"});
  EXPECT_EQ(page.body.find("http://"), std::string::npos);
  EXPECT_EQ(page.body.find("https://"), std::string::npos);
  EXPECT_EQ(page.body.find("src="), std::string::npos);
  EXPECT_LT(page.body.size(), 2048U);
}

TEST(ErrorResponse, ReflectsNothingUnescaped) {
  const std::string response = write_refusal({.fault = Fault::NoRoute,
                                              .accept = "text/html<script>\r\nX: y",
                                              .request_id = "x\r\nSet-Cookie: a=b",
                                              .app = "<script>alert(1)</script>"});
  EXPECT_EQ(response.find("<script>"), std::string::npos);
  EXPECT_EQ(response.substr(0, response.find("\r\n\r\n")).find("Set-Cookie"), std::string::npos);
}

TEST(ErrorResponse, HasALengthButNoBodyForHead) {
  const std::string get = write_refusal({.fault = Fault::NoRoute});
  const std::string head = write_refusal({.fault = Fault::NoRoute, .head_only = true});
  EXPECT_EQ(head, get.substr(0, get.find("\r\n\r\n") + 4));
}

TEST(ErrorResponse, ClosesWhereTold) {
  EXPECT_TRUE(
      has_field(write_refusal({.fault = Fault::BadFraming, .close = true}), "Connection: close"));
  EXPECT_FALSE(has_field(write_refusal({.fault = Fault::BadFraming}), "Connection: close"));
}

TEST(ErrorResponse, NeverPromisesARetryInNoTime) {
  EXPECT_TRUE(has_field(write_refusal({.fault = Fault::WakeQueueFull, .retry_after = 0s}),
                        "Retry-After: 1"));
}

TEST(ErrorResponse, ExistsForEveryFaultWithAStatus) {
  for (std::size_t i = 0; i < kFaultCount; ++i) {
    const auto fault = static_cast<Fault>(i);
    const std::string response = write_refusal({.fault = fault, .accept = "text/html"});
    if (describe(fault).status == 0 || fault == Fault::ClientLeft) {
      EXPECT_TRUE(response.empty());
      continue;
    }
    EXPECT_TRUE(response.starts_with("HTTP/1.1 " + std::to_string(describe(fault).status)));
    EXPECT_EQ(response.find("Unknown"), std::string::npos) << describe(fault).token;
  }
}

TEST(ErrorResponse, ListsTheMethodsWith405) {
  EXPECT_TRUE(has_field(write_refusal({.fault = Fault::MethodNotAllowed}),
                        "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
}

TEST(HttpsRedirect, KeepsHostPathAndQuery) {
  const std::string response =
      write_https_redirect("hello.app.dev", "/a/b?c=d%20e", 443, "id", false);
  EXPECT_TRUE(response.starts_with("HTTP/1.1 301 Moved Permanently\r\n"));
  EXPECT_TRUE(has_field(response, "Location: https://hello.app.dev/a/b?c=d%20e"));
  EXPECT_TRUE(has_field(response, "Content-Length: 0"));
  EXPECT_TRUE(has_field(write_https_redirect("h.dev", "/", 8443, "id", true),
                        "Location: https://h.dev:8443/"));
}

TEST(HttpsRedirect, CannotBeSplitOrSentElsewhere) {
  const std::string split = write_https_redirect("h.dev", "/a\r\nSet-Cookie: x=y", 443, "", false);
  EXPECT_TRUE(has_field(split, "Location: https://h.dev/a%0D%0ASet-Cookie:%20x=y"));
  EXPECT_TRUE(has_field(write_https_redirect("h.dev", "//evil.com/", 443, "", false),
                        "Location: https://h.dev//evil.com/"));
  for (const char* host : {"", "evil.com/\r\nX: y", "a b", "user@evil.com"}) {
    EXPECT_TRUE(write_https_redirect(host, "/", 443, "", false).starts_with("HTTP/1.1 400 "));
  }
  EXPECT_TRUE(
      write_https_redirect("h.dev", "@evil.com", 443, "", false).starts_with("HTTP/1.1 400 "));
}

TEST(OptionsResponse, IsEmptyAndSuccessful) {
  const std::string response = write_options_response("id", false);
  EXPECT_TRUE(response.starts_with("HTTP/1.1 200 OK\r\n"));
  EXPECT_TRUE(has_field(response, "Content-Length: 0"));
}

}  // namespace
}  // namespace rooster::proxy
