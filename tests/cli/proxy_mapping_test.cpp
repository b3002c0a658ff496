#include "cli/proxy_mapping.hpp"

#include <gtest/gtest.h>

namespace rooster::cli {
namespace {

ProxyMapping to(std::uint16_t local, std::string host, std::uint16_t remote) {
  return {.local_port = local, .local_path = {}, .remote = {std::move(host), remote}};
}

TEST(ProxyMapping, TakesEveryForm) {
  const auto found = parse_mappings({"5432", "15432:5432", "0:6379", "./pg.sock:5432"}, "db");
  ASSERT_TRUE(found) << found.error();
  ASSERT_EQ(found->size(), 4U);
  EXPECT_EQ((*found)[0], to(5432, "db.internal", 5432));
  EXPECT_EQ((*found)[1], to(15432, "db.internal", 5432));
  EXPECT_EQ((*found)[2], to(0, "db.internal", 6379));
  EXPECT_EQ((*found)[3].local_path, "./pg.sock");
  EXPECT_TRUE((*found)[3].is_unix());
}

TEST(ProxyMapping, GivesAHostToThePortsBeforeIt) {
  const auto found =
      parse_mappings({"5432", "db.flycast", "1:1", "2:2", "[fdaa:0:1::2]", "80"}, "web");
  ASSERT_TRUE(found) << found.error();
  ASSERT_EQ(found->size(), 4U);
  EXPECT_EQ((*found)[0].remote.host, "db.flycast");
  EXPECT_EQ((*found)[1].remote.host, "fdaa:0:1::2");
  EXPECT_EQ((*found)[2].remote.host, "fdaa:0:1::2");
  EXPECT_EQ((*found)[3].remote.host, "web.internal");
  EXPECT_TRUE(parse_mappings({"4280", "_api.internal"}, ""));
  EXPECT_TRUE(parse_mappings({"5432", "fdaa:0:1::5432"}, "")) << "an address, not a mapping";
}

TEST(ProxyMapping, SaysWhatToWriteInstead) {
  const auto why = [](const std::vector<std::string>& words, const char* app = "db") {
    const auto found = parse_mappings(words, app);
    return found ? std::string("taken") : found.error();
  };
  EXPECT_EQ(why({}), "which port? e.g. rooster proxy 5432 -a db");
  EXPECT_TRUE(why({"5432"}, "").starts_with("which app? Say it with -a <app>"));
  EXPECT_EQ(why({"./pg.sock"}), "./pg.sock: say which remote port, e.g. ./pg.sock:5432");
  EXPECT_EQ(why({"5432:0"}), "5432:0: the remote port must be 1 to 65535");
  EXPECT_EQ(why({"70000:1"}), "70000:1: the local port must be 0 to 65535");
  EXPECT_TRUE(why({"5432:"}).starts_with("5432:: not a mapping"));
  EXPECT_TRUE(why({":5432"}).starts_with(":5432: not a mapping"));
  EXPECT_EQ(why({"db.internal"}),
            "db.internal: a host stands behind its ports, e.g. 5432 db.internal");
  EXPECT_TRUE(why({"5432", "a b"}).starts_with("\"a b\" is neither a mapping"));
  EXPECT_EQ(why({"5432", "5432:80"}),
            "port 5432 is mapped twice; give each mapping a local port of its own, e.g. 0:80");
  EXPECT_EQ(why({"0:1", "0:2"}), "taken");
  EXPECT_EQ(why(std::vector<std::string>(65, "0:1")), "at most 64 mappings");
}

}  // namespace
}  // namespace rooster::cli
