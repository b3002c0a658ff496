// rooster.toml: defaults, paths, addresses, and what is broken about it.
#include "config/parse_node.hpp"

#include "config/show.hpp"
#include "tests/config/shared.hpp"

namespace rooster::config {
namespace {

using namespace std::chrono_literals;
using Addresses = std::vector<ListenAddress>;

NodeConfig node_of(std::string_view text) {
  auto parsed = parse_node(text, "/etc/rooster/rooster.toml");
  EXPECT_TRUE(parsed.node) << all_rendered(parsed.diagnostics);
  return parsed.node.value_or(NodeConfig{});
}

TEST(ParseNode, AnEmptyFileHasEveryDefault) {
  const auto node = node_of("");
  EXPECT_EQ(node.fixed.http, (Addresses{{"", 80}}));
  EXPECT_EQ(node.fixed.https, (Addresses{{"", 443}}));
  EXPECT_EQ(node.fixed.admin_socket, "/run/rooster/admin.sock");
  EXPECT_EQ(node.fixed.data, "/var/lib/rooster");
  EXPECT_EQ(node.fixed.workers, 0U);
  EXPECT_EQ(node.reloadable.region, "local");
  EXPECT_EQ(node.reloadable.domain, "app.dev");
  EXPECT_EQ(node.reloadable.apps, "/etc/rooster/apps");
  EXPECT_EQ(node.reloadable.access_log, "-");
  EXPECT_EQ(node.reloadable.drain_timeout, 10min);
  EXPECT_EQ(node.reloadable.lame_duck, 0ms);
  EXPECT_FALSE(node.reloadable.watch);
}

TEST(ParseNode, ReadsEveryKeyAndMakesPathsAbsolute) {
  const auto node = node_of(R"(
region = "gru"
domain = "Example.org"
apps = "../sites/"
data = "state"
workers = 2
watch = true
access_log = "logs/access.log"
drain_timeout = "1h"
lame_duck = 5
[listen]
http = [":8080", "127.0.0.1:81", "[::1]:82", "localhost:83"]
https = []
admin = "unix:admin.sock"
trusted_proxies = ["10.0.0.0/8", "::1"]
proxy_protocol_from = ["192.0.2.1/32"]
https_redirect_port_443 = true
[tls]
certificates = [{ cert = "wild.pem", key = "/keys/wild.key" }]
)");
  EXPECT_EQ(node.fixed.http,
            (Addresses{{"", 8080}, {"127.0.0.1", 81}, {"::1", 82}, {"127.0.0.1", 83}}));
  EXPECT_TRUE(node.fixed.https.empty());
  EXPECT_EQ(node.fixed.admin_socket, "/etc/rooster/admin.sock");
  EXPECT_EQ(node.fixed.data, "/etc/rooster/state");
  EXPECT_EQ(node.reloadable.domain, "example.org");
  EXPECT_EQ(node.reloadable.apps, "/etc/sites");
  EXPECT_EQ(node.reloadable.access_log, "/etc/rooster/logs/access.log");
  EXPECT_EQ(node.reloadable.drain_timeout, 1h);
  EXPECT_EQ(node.reloadable.lame_duck, 5s);
  EXPECT_EQ(node.reloadable.trusted_proxies.size(), 2U);
  EXPECT_EQ(node.reloadable.certificates,
            (std::vector{CertificateFiles{"/etc/rooster/wild.pem", "/keys/wild.key"}}));
  const auto again = parse_node(to_toml(to_document(node)), node.file);
  EXPECT_EQ(again.node, node) << all_rendered(again.diagnostics);
}

TEST(ParseNode, TheAccessLogCanBeTurnedOff) {
  EXPECT_EQ(node_of("access_log = false").reloadable.access_log, "");
  EXPECT_EQ(node_of("access_log = ''").reloadable.access_log, "");
  EXPECT_EQ(node_of("access_log = '-'").reloadable.access_log, "-");
}

TEST(ParseNode, BrokenFilesGetTheirPlaceAndMend) {
  const std::string long_path(120, 'x');
  for (const auto& [text, expected] : std::vector<std::pair<std::string, std::string>>{
           {"workers = 65\n",
            ":1:11: workers: 65 is out of range; write a whole number from 0 to 64"},
           {"region = 'G'\n", ":1:10: region: \"G\" is not a region"},
           {"domain = '*.dev'\n", ":1:10: domain: \"*.dev\" is not a domain"},
           {"access_log = 1\n", ":1:14: access_log: a whole number is not accepted here"},
           {"drain_timeout = '2d'\n", ":1:17: drain_timeout: not a duration"},
           {"[listen]\nhttp = ':80'\n",
            ":2:8: listen.http: text is not accepted here; write a list of texts"},
           {"[listen]\nhttp = [':80', '80']\n",
            ":2:16: listen.http[1]: \"80\" can't be listened on; write \":443\""},
           {"[listen]\nhttp = ['::1:80']\n",
            ":2:9: listen.http[0]: \"::1:80\" can't be listened on"},
           {"[listen]\nhttp = [':65536']\n", ":2:9: listen.http[0]"},
           {"[listen]\nhttp = [':80']\nhttps = [':80']\n",
            ":3:9: listen.https: :80 is listened on twice"},
           {"[listen]\nadmin = '/run/x'\n", ":2:9: listen.admin: not a unix socket; write \"unix:"},
           {"[listen]\nadmin = 'unix:" + long_path + "'\n",
            ":2:9: listen.admin: a socket's path has at most 107 bytes"},
           {"[listen]\ntrusted_proxies = ['private']\n",
            ":2:20: listen.trusted_proxies[0]: \"private\" is not an address range"},
           {"[tls]\ncertificates = [{ cert = 'x' }]\n",
            ":2:17: tls.certificates[0].key: missing; write { cert ="},
       }) {
    const auto parsed = parse_node(text, "/r.toml");
    EXPECT_FALSE(parsed.node) << text;
    EXPECT_TRUE(all_rendered(parsed.diagnostics).starts_with("/r.toml" + expected))
        << all_rendered(parsed.diagnostics) << expected;
  }
}

TEST(ParseNode, UnknownAndMisplacedKeysAreWarnings) {
  const auto parsed = parse_node("trusted_proxies = []\nregoin = 'gru'\n", "/r.toml");
  EXPECT_TRUE(parsed.node);
  const auto text = all_rendered(parsed.diagnostics);
  EXPECT_NE(text.find("trusted_proxies: unknown key here; it belongs under [listen]"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("regoin: unknown key; did you mean \"region\"?"), std::string::npos) << text;
}

TEST(ParseNode, TenThousandCertificatesFit) {
  std::string text;
  for (int i = 0; i < 10'000; ++i)
    text += "[[tls.certificates]]\ncert = 'c" + std::to_string(i) + ".pem'\nkey = 'k'\n";
  EXPECT_EQ(node_of(text).reloadable.certificates.size(), 10'000U);
}

}  // namespace
}  // namespace rooster::config
