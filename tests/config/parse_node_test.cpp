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

TEST(ParseNode, WithoutWireguardThereIsNoPrivateNetwork) {
  const auto node = node_of("");
  EXPECT_FALSE(node.fixed.wireguard);
  EXPECT_EQ(node.fixed.network_mode, NetworkMode::Host);
  EXPECT_EQ(node.wireguard_endpoint(), "");
  const auto asked = parse_node("[rooster]\nnetwork_mode = 'private'\n", "/r.toml");
  ASSERT_TRUE(asked.node);
  EXPECT_EQ(asked.node->fixed.network_mode, NetworkMode::Host);
  const auto text = all_rendered(asked.diagnostics);
  EXPECT_NE(text.find("rooster.network_mode: without [wireguard]"), std::string::npos) << text;
}

TEST(ParseNode, AnEmptyWireguardTableHasEveryDefault) {
  const auto node = node_of("domain = 'example.org'\n[wireguard]\n");
  ASSERT_TRUE(node.fixed.wireguard);
  EXPECT_EQ(node.fixed.wireguard->listen, (ListenAddress{"", 51820}));
  EXPECT_EQ(node.fixed.wireguard->mode, WireguardMode::Userspace);
  EXPECT_EQ(node.fixed.wireguard->stack, StackKind::Auto);
  EXPECT_EQ(node.fixed.wireguard->interface, "rooster0");
  EXPECT_EQ(node.fixed.wireguard->mtu, 1280);
  EXPECT_EQ(node.fixed.network_mode, NetworkMode::Private);
  EXPECT_EQ(node.gateway_host(), "rooster.example.org");
  EXPECT_EQ(node.wireguard_endpoint(), "rooster.example.org:51820");
  EXPECT_TRUE(node.reloadable.internal_wake);
  EXPECT_FALSE(node.reloadable.exec_as_root);
  EXPECT_EQ(node.reloadable.peer_timeout, 15min);
}

TEST(ParseNode, AFreePortIsToldAsItWasBound) {
  EXPECT_EQ(node_of("[wireguard]\nlisten = ':0'\n").wireguard_endpoint(4242),
            "rooster.app.dev:4242");
  EXPECT_EQ(node_of("[wireguard]\nendpoint = '127.0.0.1:0'\n").wireguard_endpoint(4242),
            "127.0.0.1:4242");
  EXPECT_EQ(node_of("[wireguard]\nlisten = ':70'\n").wireguard_endpoint(4242),
            "rooster.app.dev:70");
}

TEST(ParseNode, TheKernelsWireguardIsRefused) {
  const auto parsed = parse_node("[wireguard]\nmode = 'kernel'\n", "/r.toml");
  EXPECT_FALSE(parsed.node);
  const auto text = all_rendered(parsed.diagnostics);
  EXPECT_TRUE(text.starts_with("/r.toml:2:8: wireguard.mode: ")) << text;
  EXPECT_NE(text.find("write \"userspace\""), std::string::npos) << text;
}

TEST(ParseNode, ReadsEveryKeyOfThePrivateNetwork) {
  const auto node = node_of(R"(
[wireguard]
listen = "192.0.2.1:5182"
mode = "userspace"
interface = "wg-edge"
mtu = 1420
endpoint = "vpn.example.com:443"
stack = "lwip"
[dns]
upstream = ["1.1.1.1", "[2606:4700::1111]:5353", "127.0.0.1:54", "::1"]
[rooster]
internal_wake = false
network_mode = "host"
exec_as_root = true
peer_timeout = "1h"
)");
  ASSERT_TRUE(node.fixed.wireguard);
  EXPECT_EQ(*node.fixed.wireguard, (WireguardConfig{.listen = {"192.0.2.1", 5182},
                                                    .mode = WireguardMode::Userspace,
                                                    .interface = "wg-edge",
                                                    .mtu = 1420,
                                                    .endpoint = "vpn.example.com:443",
                                                    .stack = StackKind::Lwip}));
  EXPECT_EQ(node.wireguard_endpoint(), "vpn.example.com:443");
  std::string servers;
  for (const auto& server : node.fixed.dns_upstream) servers += server.to_string() + ' ';
  EXPECT_EQ(servers, "1.1.1.1:53 [2606:4700::1111]:5353 127.0.0.1:54 [::1]:53 ");
  EXPECT_FALSE(node.reloadable.internal_wake);
  EXPECT_EQ(node.fixed.network_mode, NetworkMode::Host);
  EXPECT_TRUE(node.reloadable.exec_as_root);
  EXPECT_EQ(node.reloadable.peer_timeout, 1h);
  const auto again = parse_node(to_toml(to_document(node)), node.file);
  EXPECT_EQ(again.node, node) << all_rendered(again.diagnostics);
}

TEST(ParseNode, AnythingWrongAboutThePrivateNetworkIsAnError) {
  for (const auto& [text, expected] : std::vector<std::pair<std::string, std::string>>{
           {"[wireguard]\nlisten = '51820'\n", ":2:10: wireguard.listen: \"51820\" can't be"},
           {"[wireguard]\nmode = 'go'\n",
            ":2:8: wireguard.mode: \"go\" is not known here; write \"userspace\" or \"kernel\""},
           {"[wireguard]\nstack = 'gvisor'\n",
            ":2:9: wireguard.stack: \"gvisor\" is not known here; write \"auto\" or \"netns\" or"},
           {"[wireguard]\ninterface = 'a/b'\n", ":2:13: wireguard.interface: \"a/b\" can't be"},
           {"[wireguard]\ninterface = 'abcdefghijklmnop'\n", ":2:13: wireguard.interface"},
           {"[wireguard]\nmtu = 1500\n", ":2:7: wireguard.mtu: 1500 is out of range"},
           {"[wireguard]\nendpoint = 'vpn.example.com'\n",
            ":2:12: wireguard.endpoint: \"vpn.example.com\" is not a place to send to; write"},
           {"[wireguard]\nendpoint = ':51820'\n", ":2:12: wireguard.endpoint"},
           {"[wireguard]\nport = 51820\n", ":2:1: wireguard.port: unknown key"},
           {"[dns]\nupstream = ['1.1.1.1', 'one']\n",
            ":2:12: dns.upstream[1]: \"one\" is not a server's address; write"},
           {"[rooster]\nnetwork_mode = 'nat'\n", ":2:16: rooster.network_mode: \"nat\" is not"},
           {"[rooster]\npeer_timeout = '1s'\n", ":2:16: rooster.peer_timeout"},
           {"[rooster]\nhostnames = []\n", ":2:1: rooster.hostnames: unknown key"},
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
