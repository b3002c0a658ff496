// tokens, wireguard, ips and login as they are typed, against prepared answers.
#include "cli/network_commands.hpp"

#include "cli/peer_file.hpp"
#include "cli/run_cli.hpp"
#include "tests/cli/fake_node.hpp"
#include "tests/cli/home.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

#include <sys/stat.h>

namespace rooster::cli {
namespace {

struct Outcome {
  int status = 0;
  std::string out;
  std::string err;
};

constexpr const char* kNewPeer =
    R"({"peer":{"name":"laptop","network":"default","region":"gru",)"
    R"("address":"fdaa:0:18:a7b:2:0:a:102","network_prefix":"fdaa:0:18::/48",)"
    R"("dns":"fdaa:0:18::3","endpoint":"rooster.app.dev:51820",)"
    R"("gateway_public_key":"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=",)"
    R"("login_url":"https://rooster.app.dev","pin":"",)"
    R"("token_text":"abcdefgh23-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}})";

class NetworkCommands : public ::testing::Test {
 protected:
  void SetUp() override { setenv("ROOSTER_ADMIN", node_.socket_path().c_str(), 1); }
  void TearDown() override { unsetenv("ROOSTER_ADMIN"); }

  static Outcome run(std::vector<std::string> arguments) {
    std::vector<const char*> words{"rooster"};
    for (const std::string& word : arguments) words.push_back(word.c_str());
    std::ostringstream out;
    std::ostringstream err;
    const int status = run_cli(static_cast<int>(words.size()), words.data(), Commands{},
                               {.out = out, .err = err, .has_colour = false});
    return {status, out.str(), err.str()};
  }
  std::string file(const std::string& name) const { return (node_.folder() / name).string(); }
  static std::string text_of(const std::string& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  const testing::Home home_;
  FakeNode node_;
};

TEST(ParseLife, TakesDaysAndWhatGoTakes) {
  using namespace std::chrono_literals;
  EXPECT_EQ(parse_life("90d"), std::chrono::days(90));
  EXPECT_EQ(parse_life("1h30m"), 90min);
  EXPECT_EQ(parse_life("45s"), 45s);
  for (const char* text : {"", "d", "0d", "-1d", "1.5d", "4000d", "0s", "soon", "1d2h"}) {
    EXPECT_FALSE(parse_life(text)) << text;
  }
}

TEST_F(NetworkCommands, ATokenIsALineToHandOver) {
  node_.answer("POST /v1/tokens",
               R"({"token":{"id":"abcdefgh23","expires":"2027-02-19T00:00:00Z"},)"
               R"("login":"https://rooster.app.dev#abcdefgh23-x.PIN"})");
  const Outcome made = run({"tokens", "create", "--apps", "a,b", "--allow", "connect,exec"});
  EXPECT_EQ(made.status, 0) << made.err;
  EXPECT_EQ(made.out, "rooster login 'https://rooster.app.dev#abcdefgh23-x.PIN'\n");
  EXPECT_NE(made.err.find("2027-02-19"), std::string::npos);
  EXPECT_EQ(run({"tokens", "create", "--ttl", "soon"}).status, 2);
}

TEST_F(NetworkCommands, TokensAreListedAndRevoked) {
  node_.answer("GET /v1/tokens", R"({"tokens":[{"id":"abc","network":"default","apps":[],)"
                                 R"("rights":"connect","note":"Anna","created":"then"}]})");
  const Outcome list = run({"tokens", "list"});
  EXPECT_NE(list.out.find("abc  default  all   connect  Anna  then     never"), std::string::npos)
      << list.out;
  node_.answer("POST /v1/tokens/abc/revoke", R"({"token":{"id":"abc"}})");
  EXPECT_EQ(run({"tokens", "revoke", "abc"}).status, 0);
  node_.answer("POST /v1/tokens/none/revoke", R"({"error":"no token has this id"})", 400);
  const Outcome none = run({"tokens", "revoke", "none"});
  EXPECT_EQ(none.status, 1);
  EXPECT_NE(none.err.find("no token has this id"), std::string::npos);
}

TEST_F(NetworkCommands, APeersFileIsForItsOwnerAndNeverOverwritten) {
  node_.answer("POST /v1/peers", kNewPeer);
  const std::string conf = file("wg0.conf");
  const Outcome made = run({"wireguard", "create", "default", "gru", "laptop", conf, "--enrol"});
  EXPECT_EQ(made.status, 0) << made.err;
  EXPECT_EQ(made.out,
            "Wrote WireGuard configuration to " + conf + "; load in your WireGuard client\n");
  EXPECT_NE(made.err.find("!!!! WARNING: Output includes private key."), std::string::npos);
  EXPECT_NE(made.err.find("Creating WireGuard peer \"laptop\" in region \"gru\" for network "
                          "default\n"),
            std::string::npos);
  struct stat status{};
  ASSERT_EQ(stat(conf.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  const auto read = parse_peer_file(text_of(conf));
  ASSERT_TRUE(read) << read.error().detail;
  EXPECT_EQ(read->enrol->url(), "https://rooster.app.dev");
  const std::size_t before = node_.requests().size();
  const Outcome again = run({"wireguard", "create", "default", "gru", "laptop", conf});
  EXPECT_EQ(again.status, 1);
  EXPECT_NE(again.err.find("exists and is not overwritten"), std::string::npos);
  EXPECT_EQ(node_.requests().size(), before) << "nothing may be made that can't be written";
}

TEST_F(NetworkCommands, ARefusedPeerLeavesNoFile) {
  node_.answer("POST /v1/peers", R"({"error":"network default has a peer \"laptop\" already"})",
               409);
  const std::string conf = file("wg0.conf");
  const Outcome made = run({"wg", "create", "default", "gru", "laptop", conf});
  EXPECT_EQ(made.status, 1);
  EXPECT_NE(made.err.find("has a peer"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(conf));
}

TEST_F(NetworkCommands, StdoutGetsTheFileAndNothingElse) {
  node_.answer("POST /v1/peers", kNewPeer);
  const Outcome made =
      run({"wireguard", "create", "default", "gru", "laptop", "stdout", "--split-dns"});
  EXPECT_EQ(made.status, 0) << made.err;
  EXPECT_TRUE(
      made.out.starts_with("\n# Rooster-Enrol = https://rooster.app.dev token=abcdefgh23-"));
  EXPECT_NE(made.out.find("PostUp = resolvectl dns %i fdaa:0:18::3;"), std::string::npos);
  EXPECT_TRUE(made.out.ends_with("PersistentKeepalive = 15\n\n"));
  EXPECT_NE(made.err.find("!!!! WARNING"), std::string::npos);
}

TEST_F(NetworkCommands, PeersAreListedRemovedAndReset) {
  node_.answer("GET /v1/peers", R"({"peers":[{"name":"laptop","network":"default",)"
                                R"("region":"gru","address":"fdaa::5"}]})");
  EXPECT_NE(run({"wireguard", "list"}).out.find("laptop  default  gru     fdaa::5"),
            std::string::npos);
  node_.answer("GET /v1/peers?network=other", R"({"peers":[]})");
  EXPECT_EQ(run({"wireguard", "list", "other"}).out,
            "Network \"other\" does not have any wireguard peers\n");
  node_.answer("POST /v1/peers/laptop/remove?network=default", kNewPeer);
  EXPECT_EQ(run({"wireguard", "remove", "default", "laptop"}).out,
            "Removing WireGuard peer \"laptop\" for network default\nRemoved peer.\n");
  node_.answer("POST /v1/peers/laptop/reset?network=default", kNewPeer);
  const Outcome reset = run({"wireguard", "reset", "default", "laptop", file("new.conf")});
  EXPECT_EQ(reset.status, 0) << reset.err;
  EXPECT_NE(reset.err.find("New WireGuard peer for network 'default': 'laptop'\n"),
            std::string::npos);
}

TEST_F(NetworkCommands, TheStatusTellsOfSharedKeys) {
  node_.answer("GET /v1/wireguard",
               R"({"interface":"rooster0","endpoint":"e:1","public_key":"k","region":"gru",)"
               R"("peers":[{"name":"laptop","network":"default","address":"fdaa::5",)"
               R"("endpoint":"1.2.3.4:5","transport":"udp","handshake_age_seconds":42,)"
               R"("received_bytes":2048,"sent_bytes":10,"refused":0,"alternates":true},)"
               R"({"name":"quiet","network":"default","address":"fdaa::6"}]})");
  const Outcome status = run({"wireguard", "status"});
  EXPECT_NE(status.out.find("42 s ago"), std::string::npos) << status.out;
  EXPECT_NE(status.out.find("2.0 KiB"), std::string::npos);
  EXPECT_NE(status.out.find("never"), std::string::npos);
  EXPECT_NE(status.out.find("two places use the key of laptop"), std::string::npos);
}

TEST_F(NetworkCommands, IpsAreTheAppsAndItsMachines) {
  node_.answer("GET /v1/ips?app=db",
               R"({"ips":[{"version":"v6","ip":"fdaa:0:1:0:1::2","type":"private ingress",)"
               R"("region":"global"}],"machines":[{"id":"m1","region":"gru","ip":"fdaa::7"}]})");
  const std::string own = "v6       fdaa:0:1:0:1::2  private ingress  global";
  EXPECT_NE(run({"ips", "-a", "db"}).out.find(own), std::string::npos);
  EXPECT_NE(run({"ips", "list", "-a", "db"}).out.find(own), std::string::npos);
  EXPECT_NE(run({"ips", "private", "-a", "db"}).out.find("m1  gru     fdaa::7"), std::string::npos);
  EXPECT_NE(run({"ips"}).err.find("missing an app name"), std::string::npos);
}

TEST_F(NetworkCommands, ALoginThatIsNoneIsWrongUsage) {
  EXPECT_EQ(run({"login", "http://x#y"}).status, 2);
  const Outcome nobody = run({"login", "https://localhost:1#abcdefgh23-x"});
  EXPECT_EQ(nobody.status, 1);
  EXPECT_NE(nobody.err.find("no answer from https://localhost:1"), std::string::npos) << nobody.err;
}

}  // namespace
}  // namespace rooster::cli
