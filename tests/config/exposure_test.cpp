// What is said of an app's ports.
#include "config/exposure.hpp"

#include "tests/config/shared.hpp"

namespace rooster::config {
namespace {

constexpr std::string_view kRaw =
    "[[services]]\ninternal_port = 5432\nports = [{ port = 5432, handlers = [] }]\n";

TEST(Exposure, HttpIsPublicAndRawTcpIsPrivate) {
  const auto web = app_of("[http_service]\ninternal_port = 8000\n");
  EXPECT_EQ(exposure(web), "public 80, 443");
  EXPECT_TRUE(is_public(web));
  const auto database = app_of(kRaw);
  EXPECT_EQ(exposure(database), "private 5432");
  EXPECT_FALSE(is_public(database));
}

TEST(Exposure, PublicSaysOtherwise) {
  EXPECT_EQ(exposure(app_of(std::string(kRaw) + "[rooster]\npublic = true\n")), "public 5432");
  EXPECT_EQ(exposure(app_of("[http_service]\n[rooster]\npublic = false\n")), "private 80, 443");
}

TEST(Exposure, MixedAppsNameBoth) {
  EXPECT_EQ(
      exposure(app_of(std::string(kRaw) + "[[services]]\nprotocol = 'udp'\ninternal_port = 53\n"
                                          "ports = [{ port = 53 }]\n"
                                          "[[services]]\ninternal_port = 1\n"
                                          "ports = [{ start_port = 7000, end_port = 7010 },"
                                          " { port = 443, handlers = ['tls', 'http'] },"
                                          " { port = 5433, handlers = ['pg_tls'] }]\n")),
      "public 443; private 5432, 53/udp, 7000-7010, 5433");
}

TEST(Exposure, AnAppWithoutServicesExposesNothing) {
  EXPECT_EQ(exposure(app_of("")), "nothing");
}

}  // namespace
}  // namespace rooster::config
