#include "config/read_private_network.hpp"

#include "config/hostname.hpp"
#include "config/parse_node.hpp"
#include "config/scalars.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace rooster::config {
namespace {

using namespace std::chrono_literals;

constexpr std::uint16_t kDnsPort = 53;
constexpr std::size_t kMostInterface = 15;  // IFNAMSIZ less its zero
constexpr std::size_t kMostUpstreams = 8;

/// One of some words; what is another is reported.
template <class Word, std::size_t Count>
void read_word(TableReader& reader, std::string_view key, const std::array<Word, Count>& words,
               Word& to) {
  const Member* const member = reader.find(key);
  std::string written(name_of(to));
  reader.read(key, written);
  std::string choices;
  for (const Word word : words) {
    if (name_of(word) == written) {
      to = word;
      return;
    }
    choices += fmt::format("{}\"{}\"", choices.empty() ? "" : " or ", name_of(word));
  }
  reader.report().error(member->value.place, reader.path(key),
                        fmt::format("\"{}\" is not known here; write {}", written, choices));
}

/// "host:port" or "[v6]:port", as WireGuard's files have it.
bool is_endpoint(std::string_view text) {
  if (parse_listen_address(text)) return !text.starts_with(':') && !text.starts_with('*');
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  const std::string_view digits = text.substr(colon + 1);
  std::uint16_t port = 0;
  const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  const auto host = to_pattern_key(text.substr(0, colon));
  return failed == std::errc{} && end == digits.data() + digits.size() && port != 0 && host &&
         !host->starts_with('*');
}

void read_endpoint(TableReader& reader, WireguardConfig& to) {
  const Member* const member = reader.find("endpoint");
  reader.read("endpoint", to.endpoint);
  if (to.endpoint.empty() || is_endpoint(to.endpoint)) return;
  reader.report().error(
      member->value.place, reader.path("endpoint"),
      fmt::format("\"{}\" is not a place to send to; write \"vpn.example.com:51820\"",
                  to.endpoint));
}

void read_wireguard(TableReader& top, NodeConfig& node) {
  const Node* const table = top.table("wireguard");
  if (table == nullptr) return;
  TableReader reader(*table, "wireguard", top.report(), Severity::Error);
  WireguardConfig to;
  const Member* const member = reader.find("listen");
  std::string listen = to_text(to.listen);
  reader.read("listen", listen);
  if (const auto address = parse_listen_address(listen)) {
    to.listen = *address;
  } else {
    reader.report().error(
        member->value.place, reader.path("listen"),
        fmt::format("\"{}\" can't be listened on; write \":51820\" or \"192.0.2.1:51820\"",
                    listen));
  }
  read_word(reader, "mode", std::array{WireguardMode::Userspace, WireguardMode::Kernel}, to.mode);
  if (to.mode == WireguardMode::Kernel) {
    reader.report().error(reader.find("mode")->value.place, reader.path("mode"),
                          "the kernel's WireGuard is not offered: the checks of networks, the "
                          "limits of each peer and "
                          "WebSockets are those of our own; write \"userspace\"");
  }
  read_word(reader, "stack", std::array{StackKind::Auto, StackKind::Netns, StackKind::Lwip},
            to.stack);
  const Member* const interface = reader.find("interface");
  reader.read("interface", to.interface);
  // Also a file's name, that of its socket.
  if (!is_label(to.interface) || to.interface.size() > kMostInterface) {
    reader.report().error(
        interface->value.place, reader.path("interface"),
        fmt::format("\"{}\" can't be an interface's name; write up to 15 letters and digits such "
                    "as \"rooster0\"",
                    to.interface));
  }
  // From IPv6's least (RFC 8200 §5) to what an Ethernet frame leaves.
  reader.read_number("mtu", to.mtu, 1280, 1420);
  read_endpoint(reader, to);
  reader.finish();
  node.fixed.wireguard = std::move(to);
}

std::optional<Endpoint> parse_server(std::string_view text) {
  if (const auto address = IpAddress::parse(text)) return Endpoint{*address, kDnsPort};
  const auto listen = parse_listen_address(text);
  if (!listen || listen->host.empty() || listen->port == 0) return std::nullopt;
  return Endpoint{*IpAddress::parse(listen->host), listen->port};
}

void read_dns(TableReader& top, NodeConfig& node) {
  const Node* const table = top.table("dns");
  if (table == nullptr) return;
  TableReader reader(*table, "dns", top.report(), Severity::Error);
  std::vector<std::string> texts;
  const Member* const member = reader.find("upstream");
  if (reader.read_texts("upstream", texts)) {
    for (std::size_t i = 0; i < texts.size(); ++i) {
      if (const auto server = parse_server(texts[i])) {
        node.fixed.dns_upstream.push_back(*server);
        continue;
      }
      reader.report().error(
          member->value.place, reader.item_path("upstream", i),
          fmt::format("\"{}\" is not a server's address; write \"1.1.1.1\" or \"[::1]:5353\"",
                      texts[i]));
    }
    if (texts.size() > kMostUpstreams) {
      reader.report().error(member->value.place, reader.path("upstream"),
                            fmt::format("more than {} servers; keep the nearest", kMostUpstreams));
    }
  }
  reader.finish();
}

void read_rooster(TableReader& top, NodeConfig& node) {
  NetworkMode& mode = node.fixed.network_mode;
  mode = node.fixed.wireguard ? NetworkMode::Private : NetworkMode::Host;
  const Node* const table = top.table("rooster");
  if (table == nullptr) return;
  TableReader reader(*table, "rooster", top.report(), Severity::Error);
  NodeReloadable& to = node.reloadable;
  reader.read("internal_wake", to.internal_wake);
  reader.read("exec_as_root", to.exec_as_root);
  reader.read_duration("peer_timeout", to.peer_timeout, {.least = 1min, .most = 24h});
  read_word(reader, "network_mode", std::array{NetworkMode::Private, NetworkMode::Host}, mode);
  if (mode == NetworkMode::Private && !node.fixed.wireguard) {
    reader.report().warn(reader.find("network_mode")->value.place, reader.path("network_mode"),
                         "without [wireguard] there is no private network; machines run in the "
                         "host's, write \"host\" or add [wireguard]");
    mode = NetworkMode::Host;
  }
  reader.finish();
}

}  // namespace

void read_private_network(TableReader& top, NodeConfig& node) {
  read_wireguard(top, node);
  read_dns(top, node);
  read_rooster(top, node);
}

}  // namespace rooster::config
