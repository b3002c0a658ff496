#include "proxy/gateway_door.hpp"

#include "proxy/request_head.hpp"
#include "tests/proxy/edge.hpp"

#include <gtest/gtest.h>

namespace rooster::proxy {
namespace {

bool is_for(std::string_view host, std::string_view gateway) {
  RequestHead head;
  const std::string text = "POST /v1/peers HTTP/1.1\r\nhost: " + std::string(host) + "\r\n\r\n";
  EXPECT_EQ(parse_request_head(text, head).status, ParseStatus::Complete);
  return is_for_gateway(head, gateway);
}

TEST(GatewayDoor, IsForTheGatewaysNameInAnyCaseAndOnAnyPort) {
  EXPECT_TRUE(is_for("rooster.app.dev", "rooster.app.dev"));
  EXPECT_TRUE(is_for("Rooster.APP.dev.:8443", "rooster.app.dev"));
  EXPECT_FALSE(is_for("rooster.app.de", "rooster.app.dev"));
  EXPECT_FALSE(is_for("hello.app.dev", "rooster.app.dev"));
  EXPECT_FALSE(is_for("rooster.app.dev", ""));
}

TEST(GatewayDoor, NothingLeavesByItWithoutTls) {
  testing::Edge edge;
  auto settings = std::make_shared<EdgeSettings>(*edge.context.settings);
  settings->gateway_host = "rooster.app.dev";
  edge.context.settings = settings;
  int arrivals = 0;
  edge.context.gateway_door = [&arrivals](const GatewayArrival&) { ++arrivals; };
  testing::Peer client = edge.connect();
  client.send("POST /v1/peers HTTP/1.1\r\nhost: rooster.app.dev\r\ncontent-length: 0\r\n\r\n");
  EXPECT_NE(client.read_head().find(" 404 "), std::string::npos);
  EXPECT_EQ(arrivals, 0);
}

}  // namespace
}  // namespace rooster::proxy
