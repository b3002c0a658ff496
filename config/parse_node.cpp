#include "config/parse_node.hpp"

#include "config/hostname.hpp"
#include "config/read_private_network.hpp"
#include "config/scalars.hpp"
#include "config/table_reader.hpp"
#include "core/ids.hpp"

#include <fmt/format.h>

#include <charconv>
#include <set>

namespace rooster::config {
namespace {

using namespace std::chrono_literals;

// Ten thousand certificates of a hundred bytes each fit.
constexpr TextBounds kNodeBounds{.bytes = 4UL * 1024 * 1024, .lines = 100'000};

void read_listen_list(TableReader& reader, std::string_view key, std::vector<ListenAddress>& to) {
  const Member* const member = reader.find(key);
  std::vector<std::string> texts;
  if (!reader.read_texts(key, texts)) return;
  to.clear();
  for (std::size_t i = 0; i < member->value.items.size(); ++i) {
    const Node& item = member->value.items[i];
    if (!item.is(Node::Kind::String)) continue;
    if (const auto address = parse_listen_address(item.text)) {
      to.push_back(*address);
    } else {
      reader.report().error(
          item.place, reader.item_path(key, i),
          fmt::format("\"{}\" can't be listened on; write \":443\", \"127.0.0.1:443\" or "
                      "\"[::1]:443\"",
                      item.text));
    }
  }
}

void read_ranges(TableReader& reader, std::string_view key, std::vector<std::string>& to) {
  const Member* const member = reader.find(key);
  if (!reader.read_texts(key, to)) return;
  for (std::size_t i = 0; i < member->value.items.size(); ++i) {
    const Node& item = member->value.items[i];
    if (!item.is(Node::Kind::String) || is_range(item.text)) continue;
    reader.report().error(
        item.place, reader.item_path(key, i),
        fmt::format("\"{}\" is not an address range; write one such as \"10.0.0.0/8\"", item.text));
  }
}

void read_admin(TableReader& reader, NodeFixed& fixed) {
  constexpr std::size_t kMostPath = 107;  // sun_path less its zero, unix(7)
  std::string admin = "unix:/run/rooster/admin.sock";
  const Member* const member = reader.find("admin");
  reader.read("admin", admin);
  if (!admin.starts_with("unix:") || admin.size() == 5) {
    reader.report().error(member->value.place, reader.path("admin"),
                          "not a unix socket; write \"unix:/run/rooster/admin.sock\"");
    return;
  }
  fixed.admin_socket = beside(reader.report().file(), admin.substr(5));
  if (fixed.admin_socket.size() > kMostPath) {
    reader.report().error(
        member == nullptr ? Place{} : member->value.place, reader.path("admin"),
        fmt::format("a socket's path has at most {} bytes; write a shorter one", kMostPath));
  }
}

void read_listen(TableReader& top, NodeConfig& node) {
  node.fixed.http = {{"", 80}};
  node.fixed.https = {{"", 443}};
  static const Node kEmpty;
  const Node* const table = top.table("listen");
  TableReader reader(table == nullptr ? kEmpty : *table, "listen", top.report());
  read_listen_list(reader, "http", node.fixed.http);
  read_listen_list(reader, "https", node.fixed.https);
  read_admin(reader, node.fixed);
  read_ranges(reader, "trusted_proxies", node.reloadable.trusted_proxies);
  read_ranges(reader, "proxy_protocol_from", node.reloadable.proxy_protocol_from);
  reader.read("https_redirect_port_443", node.reloadable.https_redirect_port_443);
  reader.finish();
  std::set<std::pair<std::string, std::uint16_t>> seen;
  for (const auto& [key, list] :
       {std::pair{"http", &node.fixed.http}, std::pair{"https", &node.fixed.https}}) {
    for (const auto& address : *list) {
      if (address.port == 0 || seen.emplace(address.host, address.port).second) continue;
      top.report().error(
          reader.find(key)->value.place, reader.path(key),
          fmt::format("{} is listened on twice; keep one of the two", to_text(address)));
    }
  }
}

void read_tls(TableReader& top, NodeConfig& node) {
  const Node* const table = top.table("tls");
  if (table == nullptr) return;
  TableReader reader(*table, "tls", top.report());
  std::size_t index = 0;
  for (const Node* const item : reader.tables("certificates")) {
    TableReader inner(*item, reader.item_path("certificates", index++), top.report());
    CertificateFiles files;
    inner.read("cert", files.cert);
    inner.read("key", files.key);
    inner.finish();
    if (files.cert.empty() || files.key.empty()) {
      top.report().error(item->place, inner.path(files.cert.empty() ? "cert" : "key"),
                         "missing; write { cert = \"wild.pem\", key = \"wild.key\" }");
      continue;
    }
    files.cert = beside(top.report().file(), files.cert);
    files.key = beside(top.report().file(), files.key);
    node.reloadable.certificates.push_back(std::move(files));
  }
  if (const Member* const acme = reader.find("acme")) {
    top.report().warn(
        acme->place, "tls.acme",
        "this version issues no certificates by ACME; write certificates = [{ cert = \"…\", "
        "key = \"…\" }]");
  }
  reader.finish();
}

void read_access_log(TableReader& top, NodeConfig& node) {
  const Member* const member = top.find("access_log");
  std::string& log = node.reloadable.access_log;
  if (member == nullptr) return;
  if (member->value.is(Node::Kind::Boolean)) {
    log = member->value.boolean ? "-" : "";
  } else if (member->value.is(Node::Kind::String)) {
    log = member->value.text;
    if (log != "-" && !log.empty()) log = beside(top.report().file(), log);
  } else {
    top.wrong_type(member->value, "access_log",
                   "a file's path, \"-\" for standard output, or false");
  }
}

void read_names(TableReader& top, NodeConfig& node) {
  NodeReloadable& to = node.reloadable;
  const Member* const region = top.find("region");
  top.read("region", to.region);
  if (!is_region(to.region)) {
    top.report().error(
        region->value.place, "region",
        fmt::format("\"{}\" is not a region; write its short name such as \"gru\"", to.region));
  }
  const Member* const domain = top.find("domain");
  top.read("domain", to.domain);
  const auto key = to_pattern_key(to.domain);
  if (key && !key->starts_with('*') && is_label(key->substr(0, key->find('.')))) {
    to.domain = *key;
  } else {
    top.report().error(
        domain->value.place, "domain",
        fmt::format("\"{}\" is not a domain; write one such as \"app.dev\"", to.domain));
  }
}

}  // namespace

std::optional<ListenAddress> parse_listen_address(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  ListenAddress address;
  const std::string_view port = text.substr(colon + 1);
  const auto [end, failed] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (failed != std::errc{} || end != port.data() + port.size()) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() > 2 && host.starts_with('[') && host.ends_with(']');
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (host == "*") host = "";
  if (host == "localhost") host = "127.0.0.1";
  const bool is_v6 = host.find(':') != std::string_view::npos;
  if ((!host.empty() && !is_ip_address(host)) || is_v6 != bracketed) return std::nullopt;
  address.host = host;
  return address;
}

std::string to_text(const ListenAddress& address) {
  const bool is_v6 = address.host.find(':') != std::string::npos;
  return fmt::format("{}{}{}:{}", is_v6 ? "[" : "", address.host, is_v6 ? "]" : "", address.port);
}

ParsedNode parse_node(std::string_view text, const std::string& file) {
  ParsedNode parsed;
  Report report(file, text);
  const auto document = parse_document(text, kNodeBounds);
  if (!document) {
    report.error(document.error().place, "", document.error().message);
    parsed.diagnostics = report.take();
    return parsed;
  }
  NodeConfig node;
  node.file = file;
  NodeReloadable& to = node.reloadable;
  TableReader top(*document, "", report);
  read_names(top, node);
  top.read("apps", to.apps);
  to.apps = beside(file, to.apps);
  top.read("data", node.fixed.data);
  node.fixed.data = beside(file, node.fixed.data);
  top.read_number("workers", node.fixed.workers, 0, kMaxWorkers);
  top.read("sandbox", node.fixed.sandbox);
  read_listen(top, node);
  read_tls(top, node);
  read_access_log(top, node);
  top.read("watch", to.watch);
  top.read_duration("drain_timeout", to.drain_timeout, {.most = 24h});
  top.read_duration("lame_duck", to.lame_duck, {.most = 1h});
  read_private_network(top, node);
  top.finish();
  if (!report.failed()) parsed.node = std::move(node);
  parsed.diagnostics = report.take();
  return parsed;
}

}  // namespace rooster::config
