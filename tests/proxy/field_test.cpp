#include "proxy/field.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>

namespace rooster::proxy {
namespace {

TEST(Field, IsClassifiedByItsNameInAnyCase) {
  using enum FieldKind;
  const std::pair<std::string, FieldKind> table[] = {
      {"host", Host},
      {"content-length", ContentLength},
      {"transfer-encoding", TransferEncoding},
      {"expect", Expect},
      {"connection", Connection},
      {"keep-alive", KeepAlive},
      {"proxy-connection", ProxyConnection},
      {"proxy-authorization", ProxyOther},
      {"proxy-authenticate", ProxyOther},
      {"proxy", ProxyOther},
      {"te", Te},
      {"trailer", Trailer},
      {"upgrade", Upgrade},
      {"http2-settings", Http2Settings},
      {"via", Via},
      {"forwarded", Forwarded},
      {"x-forwarded-for", XForwardedFor},
      {"x-forwarded-proto", XForwardedProto},
      {"x-forwarded-ssl", XForwardedSsl},
      {"x-forwarded-port", XForwardedPort},
      {"x-forwarded-host", XForwardedOther},
      {"x-forwarded-anything-longer-than-any-other-name", XForwardedOther},
      {"x-real-ip", XRealIp},
      {"fly-prefer-region", FlyPreferRegion},
      {"fly-force-region", FlyForceRegion},
      {"fly-prefer-instance-id", FlyPreferInstanceId},
      {"fly-force-instance-id", FlyForceInstanceId},
      {"fly-replay-cache-control", FlyReplayCacheControl},
      {"fly-request-id", FlyRequestId},
      {"fly-replay", FlyReplay},
      {"fly-client-ip", FlyOther},
      {"fly-replay-src", FlyOther},
      {"rooster-hop-from", RoosterOther},
      {"accept", Accept},
      {"accept-encoding", AcceptEncoding},
      {"authorization", Authorization},
      {"cache-control", CacheControl},
      {"content-encoding", ContentEncoding},
      {"content-type", ContentType},
      {"cookie", Cookie},
      {"date", Date},
      {"location", Location},
      {"origin", Origin},
      {"referer", Referer},
      {"sec-websocket-key", SecWebSocketKey},
      {"sec-websocket-version", SecWebSocketVersion},
      {"server", Server},
      {"server-timing", ServerTiming},
      {"set-cookie", SetCookie},
      {"user-agent", UserAgent},
      {"x", Other},
      {"hosts", Other},
      {"fly", Other},
      {"fly-", Other},
      {"traceparent", Other},
      {"content-lengths", Other},
      {"content-lengtH", ContentLength},
      {"x-forwarded", Other},
      {"flyer-x", Other},
  };
  for (const auto& [name, kind] : table) {
    EXPECT_EQ(classify(name), kind) << name;
    std::string upper = name;
    std::ranges::transform(upper, upper.begin(), [](char c) {
      return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
    });
    EXPECT_EQ(classify(upper), kind) << upper;
  }
}

TEST(Field, UnderscoredTwinsOfWhatWeSetAreSpoofs) {
  for (const char* name : {"X_Forwarded_For", "x_forwarded-host", "Fly_Client_IP", "Content_Length",
                           "transfer_encoding", "X_Real_IP", "Rooster_Hop", "Proxy_Authorization",
                           "x_forwarded_a_name_that_is_longer_than_all_of_them"})
    EXPECT_EQ(classify_underscored(name), FieldKind::Spoof) << name;
  for (const char* name : {"my_field", "User_Agent", "_", "x_forward"})
    EXPECT_EQ(classify_underscored(name), FieldKind::Other) << name;
}

TEST(Field, HopByHopOnesAreKnown) {
  EXPECT_TRUE(is_hop_by_hop(FieldKind::Connection));
  EXPECT_TRUE(is_hop_by_hop(FieldKind::Upgrade));
  EXPECT_TRUE(is_hop_by_hop(FieldKind::Http2Settings));
  EXPECT_FALSE(is_hop_by_hop(FieldKind::Host));
  EXPECT_FALSE(is_hop_by_hop(FieldKind::Via));
  EXPECT_TRUE(may_be_nominated(FieldKind::Other));
  EXPECT_FALSE(may_be_nominated(FieldKind::Authorization));
}

}  // namespace
}  // namespace rooster::proxy
