#include "cli/dig_command.hpp"
#include "cli/proxy_command.hpp"
#include "dns/reply.hpp"
#include "tests/cli/fake_node.hpp"
#include "tests/cli/fake_way.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace rooster::cli {
namespace {

struct Outcome {
  int status = 0;
  std::string out;
  std::string err;
};

Outcome run(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "rooster");
  std::ostringstream out;
  std::ostringstream err;
  const Commands commands{.serve = [](const ServeOptions&) { return 0; }};
  const int status = run_cli(static_cast<int>(arguments.size()), arguments.data(), commands,
                             {.out = out, .err = err, .has_colour = false});
  return {status, out.str(), err.str()};
}

class DeveloperCommands : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"ROOSTER_ADMIN", "FLY_APP"}) ::unsetenv(name);
    ::setenv("XDG_STATE_HOME", node_.folder().c_str(), 1);
    ::setenv("XDG_CONFIG_HOME", node_.folder().c_str(), 1);
  }
  void TearDown() override {
    for (const char* name : {"ROOSTER_ADMIN", "XDG_STATE_HOME", "XDG_CONFIG_HOME"}) {
      ::unsetenv(name);
    }
  }
  FakeNode node_;
};

TEST_F(DeveloperCommands, SayHowToUseThem) {
  EXPECT_EQ(run({"proxy"}).status, 2);
  EXPECT_EQ(run({"proxy", "5432"}).status, 2);
  EXPECT_EQ(run({"proxy", "-s", "5432", "db.internal"}).err,
            "Error: --app required when --select flag provided\n");
  EXPECT_EQ(run({"proxy", "5432", "-a", "db", "--watch-stdin", "--", "sh"}).status, 2);
  EXPECT_EQ(run({"ssh"}).status, 2);
  EXPECT_TRUE(run({"ssh", "console"}).err.contains("missing an app name"));
  EXPECT_EQ(run({"ssh", "console", "-a", "db", "-s", "--machine", "x"}).err,
            "Error: --machine can't be used with -s/--select\n");
  EXPECT_EQ(run({"ssh", "console", "-a", "db", "-C", "echo 'x"}).status, 2);
  EXPECT_EQ(run({"dig", "SPF9", "x.internal"}).err, "Error: don't understand DNS type SPF9\n");
  EXPECT_EQ(run({"proxy", "5432", "--stack", "tcp"}).status, 2);
}

TEST_F(DeveloperCommands, SayHowToGetAWayIn) {
  const Outcome outcome = run({"proxy", "5432", "-a", "db"});
  EXPECT_EQ(outcome.status, 1);
  for (const char* part : {"rooster login", "--peer", "-c rooster.toml"}) {
    EXPECT_TRUE(outcome.err.contains(part)) << part << " in " << outcome.err;
  }
}

TEST_F(DeveloperCommands, WorkThroughTheAdminSocket) {
  ::setenv("ROOSTER_ADMIN", node_.socket_path().c_str(), 1);
  node_.answer("CONNECT db.internal:5432", "", 404);
  const Outcome proxy = run({"proxy", "0:5432", "-a", "db"});
  EXPECT_EQ(proxy.status, 1);
  EXPECT_EQ(proxy.err, "Error: connection to db.internal:5432 failed: the node answered 404\n");

  node_.answer("GET /v1/apps/db", R"({"machines":[{"id":"a1","region":"gru","process":"app",
    "state":"stopped","private_ip":"fdaa:0:1::2"}]})");
  node_.answer("POST /v1/apps/db/machines/a1/exec", R"({"error":"no exec here"})", 403);
  const Outcome console = run({"ssh", "console", "-a", "db", "-C", "true"});
  EXPECT_EQ(console.status, 255);
  EXPECT_EQ(console.err, "Connecting to fdaa:0:1::2...\nError: no exec here\n");
  node_.answer("GET /v1/apps/db", R"({"machines":[]})");
  EXPECT_TRUE(run({"ssh", "console", "-a", "db"}).err.contains("app db has no started VMs.\n"));

  ::setenv("ROOSTER_ADMIN", "/nowhere/admin.sock", 1);
  EXPECT_TRUE(run({"proxy", "0:5432", "-a", "db"}).err.contains("is `rooster serve` running"));
}

TEST_F(DeveloperCommands, FindTheAppsName) {
  const std::string folder = node_.folder().string();
  EXPECT_EQ(find_app_name("", nullptr, folder), "");
  std::ofstream(node_.folder() / "fly.toml") << "[http_service]\ninternal_port = 8080\n";
  EXPECT_EQ(find_app_name("", nullptr, folder), "") << "the file's own name is none";
  std::ofstream(node_.folder() / "fly.toml") << "app = \"shop\"\n";
  EXPECT_EQ(find_app_name("", nullptr, folder), "shop");
  EXPECT_EQ(find_app_name("", "from-env", folder), "from-env");
  EXPECT_EQ(find_app_name("given", "from-env", folder), "given");
}

TEST(Dig, TakesFlysWords) {
  const auto plain = parse_dig({"db.internal"});
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->type, dns::type::kAaaa);
  EXPECT_FALSE(plain->recursion_desired);
  EXPECT_EQ(parse_dig({"txt", "_apps.internal"})->type, dns::type::kTxt);
  EXPECT_EQ(parse_dig({"TXT-NATIVE", "_apps.internal"})->type, dns::type::kTxt);
  EXPECT_TRUE(parse_dig({"A", "example.com"})->recursion_desired);
  EXPECT_EQ(parse_dig({"x", "db.internal"}).error(), "don't understand DNS type x");
  EXPECT_FALSE(parse_dig({}));
  EXPECT_FALSE(parse_dig({"a", "b", "c"}));
  EXPECT_FALSE(parse_dig({"aaaa", "a..b"}));
}

// The query with another rcode, as its answer.
std::string answer(std::string query, char rcode) {
  query[4] = static_cast<char>(0x80);
  query[5] = rcode;
  return query;
}

TEST(Dig, ReadsAnAnswerHoweverItIsCut) {
  Loop loop;
  FakeWay way(loop);
  way.dns = [](std::string query) { return answer(std::move(query), 0); };
  std::ostringstream out;
  std::ostringstream err;
  const Console console{.out = out, .err = err, .has_colour = false};
  EXPECT_EQ(dig_through(loop, way, *parse_dig({"db.internal"}), false, false, console), 0)
      << err.str();
  EXPECT_TRUE(out.str().contains("NOERROR")) << out.str();
  out.str("");
  way.dns = [](std::string query) { return answer(std::move(query), 3); };
  EXPECT_EQ(dig_through(loop, way, *parse_dig({"db.internal"}), true, false, console), 1);
  EXPECT_EQ(out.str(), "");
  EXPECT_EQ(err.str(), "Error: lookup failed: NXDOMAIN\n");
  err.str("");
  EXPECT_EQ(dig_through(loop, way, *parse_dig({"db.internal"}), true, true, console), 1);
  EXPECT_EQ(out.str(), "{\"status\":\"NXDOMAIN\",\"answers\":[]}\n");
  err.str("");
  way.dns = [](std::string query) { return query.substr(0, 20); };
  EXPECT_EQ(dig_through(loop, way, *parse_dig({"db.internal"}), true, false, console), 1);
  EXPECT_EQ(err.str(), "Error: lookup failed: the server hung up inside its answer\n");
}

}  // namespace
}  // namespace rooster::cli
