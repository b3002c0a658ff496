// AppConfig and NodeConfig back into documents: the inverse of parse_app and parse_node.
#include "config/parse_node.hpp"
#include "config/scalars.hpp"
#include "config/show.hpp"
#include "config/split_command.hpp"

#include <algorithm>
#include <array>

namespace rooster::config {
namespace {

using std::chrono::milliseconds;

Node text_node(std::string text) {
  Node node;
  node.kind = Node::Kind::String;
  node.text = std::move(text);
  return node;
}
Node number_node(std::int64_t number) {
  Node node;
  node.kind = Node::Kind::Integer;
  node.integer = number;
  return node;
}
Node boolean_node(bool value) {
  Node node;
  node.kind = Node::Kind::Boolean;
  node.boolean = value;
  return node;
}
Node list_node(std::vector<Node> items) {
  Node node;
  node.kind = Node::Kind::Array;
  node.items = std::move(items);
  return node;
}
Node texts_node(const std::vector<std::string>& texts) {
  std::vector<Node> items;
  for (const auto& text : texts) items.push_back(text_node(text));
  return list_node(std::move(items));
}
Node duration_node(milliseconds duration) {
  return text_node(to_text(duration));
}

void put(Node& table, std::string key, Node value) {
  table.members.push_back({std::move(key), {}, std::move(value)});
}
void put_filled(Node& table, std::string key, const std::string& text) {
  if (!text.empty()) put(table, std::move(key), text_node(text));
}
void put_filled(Node& table, std::string key, const std::vector<std::string>& texts) {
  if (!texts.empty()) put(table, std::move(key), texts_node(texts));
}
void put_filled(Node& table, std::string key, Node value) {
  if (!value.members.empty() || !value.items.empty()) put(table, std::move(key), std::move(value));
}

std::string_view name_of(Handler handler) {
  switch (handler) {
    case Handler::Http:
      return "http";
    case Handler::Tls:
      return "tls";
    case Handler::PgTls:
      return "pg_tls";
    case Handler::ProxyProto:
      return "proxy_proto";
  }
  return "";
}
std::string_view name_of(Autostop autostop) {
  switch (autostop) {
    case Autostop::Off:
      return "off";
    case Autostop::Stop:
      return "stop";
    case Autostop::Suspend:
      return "suspend";
  }
  return "";
}
std::string_view name_of(DriverKind driver) {
  switch (driver) {
    case DriverKind::None:
      return "none";
    case DriverKind::Process:
      return "process";
    case DriverKind::Docker:
      return "docker";
    case DriverKind::MachinesApi:
      return "machines-api";
    case DriverKind::Address:
      return "address";
  }
  return "";
}

Node header_rules(const std::vector<HeaderRule>& rules) {
  Node table;
  for (const auto& rule : rules) {
    put(table, rule.name, rule.values ? texts_node(*rule.values) : boolean_node(false));
  }
  return table;
}

Node http_options(const HttpOptions& options) {
  Node table;
  if (options.compress) put(table, "compress", boolean_node(*options.compress));
  if (options.h2_backend) put(table, "h2_backend", boolean_node(true));
  if (options.idle_timeout) put(table, "idle_timeout", number_node(options.idle_timeout->count()));
  if (options.headers_read_timeout) {
    put(table, "headers_read_timeout", number_node(options.headers_read_timeout->count()));
  }
  Node response;
  if (options.pristine) put(response, "pristine", boolean_node(true));
  put_filled(response, "headers", header_rules(options.response_headers));
  put_filled(table, "response", std::move(response));
  std::vector<Node> rules;
  for (const auto& rule : options.replay_cache) {
    Node& one = rules.emplace_back();
    put(one, "path_prefix", text_node(rule.path_prefix));
    put(one, "ttl_seconds", number_node(rule.ttl.count()));
    put(one, "type", text_node(rule.type));
    put(one, "name", text_node(rule.name));
    put(one, "allow_bypass", boolean_node(rule.allow_bypass));
  }
  put_filled(table, "replay_cache", list_node(std::move(rules)));
  return table;
}

Node port_table(const Port& port) {
  Node table;
  if (port.start == port.end) {
    put(table, "port", number_node(port.start));
  } else {
    put(table, "start_port", number_node(port.start));
    put(table, "end_port", number_node(port.end));
  }
  std::vector<std::string> handlers;
  for (const auto handler : port.handlers) handlers.emplace_back(name_of(handler));
  put(table, "handlers", texts_node(handlers));
  put(table, "force_https", boolean_node(port.force_https));
  if (port.tls_options) {
    Node options;
    put_filled(options, "alpn", port.tls_options->alpn);
    put_filled(options, "versions", port.tls_options->versions);
    put(options, "default_self_signed", boolean_node(port.tls_options->default_self_signed));
    put(table, "tls_options", std::move(options));
  }
  put_filled(table, "http_options", http_options(port.http_options));
  if (port.proxy_proto_version) {
    Node options;
    put(options, "version", text_node(*port.proxy_proto_version));
    put(table, "proxy_proto_options", std::move(options));
  }
  return table;
}

Node check_table(const Check& check, bool top_level) {
  Node table;
  const bool http = check.kind == Check::Kind::Http;
  if (top_level) {
    put(table, "type", text_node(http ? "http" : "tcp"));
    put(table, "port", number_node(check.port));
  }
  put(table, "interval", duration_node(check.interval));
  put(table, "timeout", duration_node(check.timeout));
  put(table, "grace_period", duration_node(check.grace_period));
  if (!http && !top_level) return table;
  put(table, "method", text_node(check.method));
  put(table, "path", text_node(check.path));
  put(table, "protocol", text_node(check.protocol));
  put(table, "tls_skip_verify", boolean_node(check.tls_skip_verify));
  put_filled(table, "tls_server_name", check.tls_server_name);
  std::vector<Node> headers;
  for (const auto& [name, value] : check.headers) {
    Node& one = headers.emplace_back();
    put(one, "name", text_node(name));
    put(one, "value", text_node(without_secrets(name, value)));
  }
  put_filled(table, "headers", list_node(std::move(headers)));
  return table;
}

Node service_table(const Service& service) {
  Node table;
  put(table, "protocol", text_node(service.protocol == Protocol::Tcp ? "tcp" : "udp"));
  put(table, "internal_port", number_node(service.internal_port));
  put(table, "processes", texts_node(service.processes));
  put(table, "auto_stop_machines", text_node(std::string(name_of(service.autostop))));
  put(table, "auto_start_machines", boolean_node(service.autostart));
  put(table, "min_machines_running", number_node(service.min_machines_running));
  Node concurrency;
  const bool requests = service.concurrency.type == ConcurrencyType::Requests;
  put(concurrency, "type", text_node(requests ? "requests" : "connections"));
  put(concurrency, "soft_limit", number_node(service.concurrency.soft_limit));
  if (service.concurrency.hard_limit > 0) {
    put(concurrency, "hard_limit", number_node(service.concurrency.hard_limit));
  }
  put(table, "concurrency", std::move(concurrency));
  std::vector<Node> ports;
  for (const auto& port : service.ports) ports.push_back(port_table(port));
  put_filled(table, "ports", list_node(std::move(ports)));
  for (const auto kind : {Check::Kind::Tcp, Check::Kind::Http}) {
    std::vector<Node> checks;
    for (const auto& check : service.checks) {
      if (check.kind == kind) checks.push_back(check_table(check, false));
    }
    put_filled(table, kind == Check::Kind::Tcp ? "tcp_checks" : "http_checks",
               list_node(std::move(checks)));
  }
  return table;
}

Node counts_table(const std::map<std::string, std::uint32_t>& counts) {
  Node table;
  for (const auto& [region, count] : counts) put(table, region, number_node(count));
  return table;
}

Node rooster_table(const AppConfig& app) {
  const RoosterTable& own = app.rooster;
  Node table;
  if (app.driver() != DriverKind::None) {
    put(table, "driver", text_node(std::string(name_of(app.driver()))));
  }
  put_filled(table, "address", own.address);
  put(table, "directory", text_node(own.directory));
  put_filled(table, "user", own.user);
  put_filled(table, "hostnames", own.hostnames);
  put(table, "machines", counts_table(own.machines));
  put_filled(table, "min_machines", counts_table(own.min_machines));
  put_filled(table, "max_machines", counts_table(own.max_machines));
  put(table, "network", text_node(own.network));
  if (own.is_public) put(table, "public", boolean_node(*own.is_public));
  put(table, "idle_timeout", duration_node(own.idle_timeout));
  put(table, "wake_timeout", duration_node(own.wake_timeout));
  if (own.tunnel_idle) put(table, "tunnel_idle", duration_node(*own.tunnel_idle));
  put(table, "half_close", boolean_node(own.half_close));
  if (own.affinity.kind != Affinity::Kind::None) {
    Node affinity;
    const bool is_cookie = own.affinity.kind == Affinity::Kind::Cookie;
    put(affinity, is_cookie ? "cookie" : "header", text_node(own.affinity.name));
    put(table, "affinity", std::move(affinity));
  }
  put(table, "notify", boolean_node(own.notify));
  Node wake;
  put_filled(wake, "allow_paths", own.wake.allow_paths);
  put_filled(wake, "deny_paths", own.wake.deny_paths);
  put_filled(wake, "allow_methods", own.wake.allow_methods);
  put_filled(wake, "deny_user_agents", own.wake.deny_user_agents);
  put_filled(wake, "allow_ranges", own.wake.allow_ranges);
  put_filled(wake, "deny_ranges", own.wake.deny_ranges);
  put(wake, "sni_prewake", boolean_node(own.wake.sni_prewake));
  put(table, "wake", std::move(wake));
  return table;
}

Node statics_list(const std::vector<Static>& statics) {
  std::vector<Node> list;
  for (const auto& one : statics) {
    Node& table = list.emplace_back();
    put(table, "url_prefix", text_node(one.url_prefix));
    put_filled(table, "guest_path", one.guest_path);
    put_filled(table, "tigris_bucket", one.tigris_bucket);
    put_filled(table, "index_document", one.index_document);
  }
  return list_node(std::move(list));
}

Node listen_list(const std::vector<ListenAddress>& addresses) {
  std::vector<std::string> texts;
  for (const auto& address : addresses) texts.push_back(to_text(address));
  return texts_node(texts);
}

void put_private_network(Node& top, const NodeConfig& node) {
  if (const auto& wireguard = node.fixed.wireguard) {
    Node table;
    put(table, "listen", text_node(to_text(wireguard->listen)));
    put(table, "mode", text_node(std::string(name_of(wireguard->mode))));
    put(table, "interface", text_node(wireguard->interface));
    put(table, "mtu", number_node(wireguard->mtu));
    put_filled(table, "endpoint", wireguard->endpoint);
    put(table, "stack", text_node(std::string(name_of(wireguard->stack))));
    put(top, "wireguard", std::move(table));
  }
  const NodeReloadable& own = node.reloadable;
  std::vector<std::string> servers;
  for (const Endpoint& server : node.fixed.dns_upstream) servers.push_back(server.to_string());
  Node dns;
  put_filled(dns, "upstream", servers);
  put_filled(top, "dns", std::move(dns));
  Node rooster;
  put(rooster, "network_mode", text_node(std::string(name_of(node.fixed.network_mode))));
  put(rooster, "internal_wake", boolean_node(own.internal_wake));
  put(rooster, "exec_as_root", boolean_node(own.exec_as_root));
  put(rooster, "peer_timeout", duration_node(own.peer_timeout));
  put(top, "rooster", std::move(rooster));
}

}  // namespace

std::string without_secrets(std::string_view name, std::string_view value) {
  std::string upper(name);
  std::ranges::transform(upper, upper.begin(), [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  static constexpr std::array<std::string_view, 9> kSecret{
      "SECRET",      "PASSWORD", "PASSWD",     "TOKEN",        "CREDENTIAL",
      "PRIVATE_KEY", "API_KEY",  "ACCESS_KEY", "AUTHORIZATION"};
  const bool secret = std::ranges::any_of(
      kSecret, [&](std::string_view part) { return upper.find(part) != std::string::npos; });
  if (secret && !value.empty()) return "***";
  // scheme://user:password@host
  const auto scheme = value.find("://");
  if (scheme == std::string_view::npos) return std::string(value);
  const auto end = value.find_first_of("/?#", scheme + 3);
  const auto authority =
      value.substr(scheme + 3, end == std::string_view::npos ? end : end - scheme - 3);
  const auto at = authority.rfind('@');
  const auto colon = authority.substr(0, at).find(':');
  if (at == std::string_view::npos || colon == std::string_view::npos) return std::string(value);
  std::string shown(value.substr(0, scheme + 3 + colon + 1));
  return shown.append("***").append(value.substr(scheme + 3 + at));
}

Node to_document(const AppConfig& app) {
  Node top;
  put(top, "app", text_node(app.name));
  put(top, "primary_region", text_node(app.primary_region));
  put(top, "kill_signal", text_node(app.kill_signal));
  put(top, "kill_timeout", duration_node(app.kill_timeout));
  if (!app.image.empty()) {
    Node build;
    put(build, "image", text_node(app.image));
    put(top, "build", std::move(build));
  }
  Node processes;
  for (const auto& one : app.processes)
    put(processes, one.group, text_node(join_command(one.command)));
  put(top, "processes", std::move(processes));
  Node env;
  for (const auto& [name, value] : app.env) put(env, name, text_node(without_secrets(name, value)));
  put_filled(top, "env", std::move(env));
  std::vector<Node> services;
  for (const auto& service : app.services) services.push_back(service_table(service));
  put_filled(top, "services", list_node(std::move(services)));
  put_filled(top, "statics", statics_list(app.statics));
  std::vector<Node> checks;
  for (const auto& check : app.checks) {
    Node& table = checks.emplace_back(check_table(check, true));
    put_filled(table, "name", check.name);
  }
  put_filled(top, "checks", list_node(std::move(checks)));
  put(top, "rooster", rooster_table(app));
  return top;
}

Node to_document(const NodeConfig& node) {
  Node top;
  const NodeReloadable& own = node.reloadable;
  put(top, "region", text_node(own.region));
  put(top, "domain", text_node(own.domain));
  put(top, "apps", text_node(own.apps));
  put(top, "data", text_node(node.fixed.data));
  put(top, "workers", number_node(node.fixed.workers));
  put(top, "sandbox", boolean_node(node.fixed.sandbox));
  put(top, "watch", boolean_node(own.watch));
  put(top, "access_log", text_node(own.access_log));
  put(top, "drain_timeout", duration_node(own.drain_timeout));
  put(top, "lame_duck", duration_node(own.lame_duck));
  Node listen;
  put(listen, "http", listen_list(node.fixed.http));
  put(listen, "https", listen_list(node.fixed.https));
  put(listen, "admin", text_node("unix:" + node.fixed.admin_socket));
  put(listen, "trusted_proxies", texts_node(own.trusted_proxies));
  put(listen, "proxy_protocol_from", texts_node(own.proxy_protocol_from));
  put(listen, "https_redirect_port_443", boolean_node(own.https_redirect_port_443));
  put(top, "listen", std::move(listen));
  std::vector<Node> certificates;
  for (const auto& files : own.certificates) {
    Node& one = certificates.emplace_back();
    put(one, "cert", text_node(files.cert));
    put(one, "key", text_node(files.key));
  }
  Node tls;
  put_filled(tls, "certificates", list_node(std::move(certificates)));
  put_filled(top, "tls", std::move(tls));
  put_private_network(top, node);
  return top;
}

}  // namespace rooster::config
