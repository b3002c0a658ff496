// [http_service], [[services]], their ports and options (Fly's reference: configuration, services).
#include "config/app_reader.hpp"
#include "config/scalars.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace rooster::config {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kMostSeconds = 24UL * 3600;
constexpr std::uint64_t kMostLimit = 1'000'000;  // connections to one machine

void read_autostop(TableReader& reader, Service& service) {
  const Member* const member = reader.find("auto_stop_machines");
  if (member == nullptr) return;
  const Node& value = member->value;
  if (value.is(Node::Kind::Boolean)) {
    service.autostop = value.boolean ? Autostop::Stop : Autostop::Off;
  } else if (value.is(Node::Kind::String) && value.text == "off") {
    service.autostop = Autostop::Off;
  } else if (value.is(Node::Kind::String) && value.text == "stop") {
    service.autostop = Autostop::Stop;
  } else if (value.is(Node::Kind::String) && value.text == "suspend") {
    service.autostop = Autostop::Suspend;
  } else {
    reader.wrong_type(value, reader.path("auto_stop_machines"), "\"off\", \"stop\" or \"suspend\"");
  }
}

void read_concurrency(TableReader& reader, Service& service) {
  const Member* const member = reader.find("concurrency");
  if (member == nullptr) return;
  const Node& value = member->value;
  Concurrency& to = service.concurrency;
  const std::string path = reader.path("concurrency");
  if (value.is(Node::Kind::String)) {  // the older "soft,hard" counts requests
    const auto comma = value.text.find(',');
    const auto number = [&](std::string_view text, std::uint32_t& out) {
      const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), out);
      return failed == std::errc{} && end == text.data() + text.size() && out <= kMostLimit;
    };
    const std::string_view text = value.text;
    if (comma == std::string::npos || !number(text.substr(0, comma), to.soft_limit) ||
        !number(text.substr(comma + 1), to.hard_limit)) {
      reader.report().error(value.place, path,
                            "not \"soft,hard\"; write two numbers such as \"20,25\"");
    }
    to.type = ConcurrencyType::Requests;
    return;
  }
  if (!value.is(Node::Kind::Table)) {
    reader.wrong_type(value, path, fmt::format("a table: [{}]", path));
    return;
  }
  TableReader inner(value, path, reader.report());
  std::string type = "connections";
  inner.read("type", type);
  if (type == "requests" || type == "request") {
    to.type = ConcurrencyType::Requests;
  } else if (type != "connections" && type != "connection" && !type.empty()) {
    inner.report().error(
        inner.find("type")->value.place, inner.path("type"),
        fmt::format("\"{}\" can't be counted; write \"requests\" or \"connections\"", type));
  }
  inner.read_number("soft_limit", to.soft_limit, 0, kMostLimit, true);
  inner.read_number("hard_limit", to.hard_limit, 0, kMostLimit, true);
  if (to.soft_limit == 0) to.soft_limit = Concurrency{}.soft_limit;
  if (inner.node().find("soft_limit") == nullptr && to.hard_limit > 0) {
    to.soft_limit = std::min(to.soft_limit, to.hard_limit);  // the default is not a contradiction
  }
  inner.finish();
}

/// "tcp" in the list means raw: no handler.
void read_handlers(TableReader& reader, Port& port) {
  std::vector<std::string> names;
  const Member* const member = reader.find("handlers");
  if (!reader.read_texts("handlers", names)) return;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto& name = names[i];
    Handler handler = Handler::Http;
    if (name == "tcp") continue;
    if (name == "tls") {
      handler = Handler::Tls;
    } else if (name == "pg_tls") {
      handler = Handler::PgTls;
    } else if (name == "proxy_proto") {
      handler = Handler::ProxyProto;
    } else if (name != "http") {
      reader.report().error(
          member->value.items[i].place, reader.item_path("handlers", i),
          fmt::format("\"{}\" is no handler; write {}", name,
                      name == "https" ? R"(handlers = ["tls", "http"])"
                                      : R"("http", "tls", "pg_tls" or "proxy_proto")"));
      continue;
    }
    if (!port.has(handler)) port.handlers.push_back(handler);
  }
}

Port read_port(const Node& table, const std::string& path, Report& report) {
  TableReader reader(table, path, report);
  Port port;
  const bool single = table.find("port") != nullptr;
  const bool range = table.find("start_port") != nullptr || table.find("end_port") != nullptr;
  reader.read_number("port", port.start, 1, 65535, true);
  port.end = port.start;
  if (range) {
    port.start = 1;  // a missing bound is the outermost
    port.end = 65535;
  }
  reader.read_number("start_port", port.start, 0, 65535, true);
  reader.read_number("end_port", port.end, 1, 65535, true);
  if (single && range) {
    report.error(table.place, path, "port together with start_port or end_port; keep one way");
  } else if (!single && !range) {
    report.error(table.place, path, "no port; write port = 443, or start_port and end_port");
  } else if (port.start > port.end) {
    report.error(table.place, path, "start_port is above end_port; swap them");
  }
  read_handlers(reader, port);
  reader.read("force_https", port.force_https);
  if (const Node* const options = reader.table("http_options")) {
    port.http_options = read_http_options(*options, reader.path("http_options"), report);
  }
  if (const Node* const options = reader.table("tls_options")) {
    port.tls_options = read_tls_options(*options, reader.path("tls_options"), report);
  }
  if (const Node* const options = reader.table("proxy_proto_options")) {
    TableReader inner(*options, reader.path("proxy_proto_options"), report);
    std::string version = "v1";
    inner.read("version", version);
    if (version != "v1" && version != "v2") {
      report.error(inner.find("version")->value.place, inner.path("version"),
                   fmt::format("\"{}\" is no PROXY protocol; write \"v1\" or \"v2\"", version));
    }
    port.proxy_proto_version = version;
    inner.finish();
  }
  if (port.has(Handler::ProxyProto) && !port.proxy_proto_version) port.proxy_proto_version = "v1";
  reader.finish();
  return port;
}

/// What [http_service] and [[services]] share.
void read_common(TableReader& reader, Service& service) {
  reader.read_number("internal_port", service.internal_port, 0, 65535, true);
  read_autostop(reader, service);
  reader.read("auto_start_machines", service.autostart);
  reader.read_number("min_machines_running", service.min_machines_running, 0, 10'000);
  reader.read_texts("processes", service.processes);
  read_concurrency(reader, service);
  reader.accept({"machine_checks", "script_checks"});
}

/// Which groups carry a service: those it names, else the default group.
void settle_processes(TableReader& reader, Service& service, const AppConfig& app) {
  if (service.processes.empty()) {
    service.processes = {app.processes.front().group};
    if (app.processes.size() > 1) {
      reader.report().warn(
          reader.node().place, reader.path("processes"),
          fmt::format("several process groups and none is named; \"{}\" is used, write "
                      "processes = [\"{}\"]",
                      service.processes.front(), service.processes.front()));
    }
    return;
  }
  const Member* const member = reader.find("processes");
  for (std::size_t i = 0; i < service.processes.size(); ++i) {
    const auto& name = service.processes[i];
    const bool known =
        std::ranges::find(app.processes, name, &Process::group) != app.processes.end();
    if (known || member == nullptr || i >= member->value.items.size()) continue;
    reader.report().error(
        member->value.items[i].place, reader.item_path("processes", i),
        fmt::format("no process group \"{}\"; write \"{}\" or add it to [processes]", name,
                    app.processes.front().group));
  }
}

void read_checks(TableReader& reader, std::string_view key, Check::Kind kind, Service& service,
                 std::size_t& number) {
  std::size_t index = 0;
  for (const Node* const table : reader.tables(key)) {
    service.checks.push_back(read_service_check(*table, reader.item_path(key, index++), kind,
                                                service.internal_port, number++, reader.report()));
  }
}

Port make_port(std::uint16_t number, std::vector<Handler> handlers) {
  Port port;
  port.start = port.end = number;
  port.handlers = std::move(handlers);
  return port;
}

/// A service on port 80 with http and on 443 with tls and http; force_https stands on 80.
Service read_http_service(const Node& table, const AppConfig& app, Report& report,
                          std::size_t& checks) {
  TableReader reader(table, "http_service", report);
  Service service;
  read_common(reader, service);
  settle_processes(reader, service, app);
  Port plain = make_port(80, {Handler::Http});
  reader.read("force_https", plain.force_https);
  if (const Node* const options = reader.table("http_options")) {
    plain.http_options = read_http_options(*options, reader.path("http_options"), report);
  }
  Port secure = make_port(443, {Handler::Tls, Handler::Http});
  secure.http_options = plain.http_options;
  if (const Node* const options = reader.table("tls_options")) {
    secure.tls_options = read_tls_options(*options, reader.path("tls_options"), report);
  }
  service.ports = {std::move(plain), std::move(secure)};
  read_checks(reader, "checks", Check::Kind::Http, service, checks);
  read_checks(reader, "http_checks", Check::Kind::Http, service, checks);
  read_checks(reader, "tcp_checks", Check::Kind::Tcp, service, checks);
  reader.finish();
  return service;
}

Service read_service(const Node& table, const std::string& path, const AppConfig& app,
                     Report& report, std::size_t& checks) {
  TableReader reader(table, path, report);
  Service service;
  std::string protocol = "tcp";
  reader.read("protocol", protocol);
  if (protocol == "udp") {
    service.protocol = Protocol::Udp;
  } else if (protocol != "tcp" && !protocol.empty()) {
    report.error(reader.find("protocol")->value.place, reader.path("protocol"),
                 fmt::format("\"{}\" is no protocol here; write \"tcp\" or \"udp\"", protocol));
  }
  read_common(reader, service);
  settle_processes(reader, service, app);
  std::size_t index = 0;
  for (const Node* const port : reader.tables("ports")) {
    service.ports.push_back(read_port(*port, reader.item_path("ports", index++), report));
  }
  read_checks(reader, "tcp_checks", Check::Kind::Tcp, service, checks);
  read_checks(reader, "http_checks", Check::Kind::Http, service, checks);
  reader.finish();
  return service;
}

}  // namespace

void read_services(TableReader& top, AppConfig& app) {
  std::size_t checks = 0;
  Report& report = top.report();
  const Node* const http_service = top.table("http_service");
  if (http_service != nullptr) {
    app.services.push_back(read_http_service(*http_service, app, report, checks));
  }
  const Member* const services = top.find("services");
  // [services.concurrency] beside [http_service]: Fly ignores it, and so the limits never apply.
  if (services != nullptr && services->value.is(Node::Kind::Table) && http_service != nullptr &&
      services->value.find("internal_port") == nullptr &&
      services->value.find("ports") == nullptr) {
    for (const auto& [key, place, value] : services->value.members) {
      report.warn(
          place, "services." + key,
          fmt::format("has no effect: no [[services]] here; it belongs under [http_service.{}]",
                      key));
    }
    return;
  }
  std::size_t index = 0;
  for (const Node* const table : top.tables("services")) {
    app.services.push_back(
        read_service(*table, top.item_path("services", index++), app, report, checks));
  }
}

TlsOptions read_tls_options(const Node& table, const std::string& path, Report& report) {
  TableReader reader(table, path, report);
  TlsOptions options;
  reader.read_texts("alpn", options.alpn);
  reader.read_texts("versions", options.versions);
  reader.read("default_self_signed", options.default_self_signed);
  for (std::size_t i = 0; i < options.versions.size(); ++i) {
    if (options.versions[i] == "TLSv1.2" || options.versions[i] == "TLSv1.3") continue;
    report.error(
        reader.find("versions")->value.place, reader.item_path("versions", i),
        fmt::format("\"{}\" is not served; write \"TLSv1.2\" or \"TLSv1.3\"", options.versions[i]));
  }
  for (std::size_t i = 0; i < options.alpn.size(); ++i) {
    if (!options.alpn[i].empty() && options.alpn[i].size() <= 255) continue;  // RFC 7301 §3.1
    report.error(reader.find("alpn")->value.place, reader.item_path("alpn", i),
                 "a protocol's name has 1 to 255 bytes; write \"h2\" or \"http/1.1\"");
  }
  reader.finish();
  return options;
}

namespace {

void read_response_headers(TableReader& response, HttpOptions& options) {
  const Node* const headers = response.table("headers");
  if (headers == nullptr) return;
  for (const auto& [name, place, value] : headers->members) {
    const std::string path = response.path("headers." + name);
    HeaderRule rule{.name = name, .values = std::nullopt};
    const auto is_token = [](std::string_view text) {  // RFC 9110 §5.6.2
      return !text.empty() && std::ranges::all_of(text, [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
      });
    };
    const auto is_value = [](std::string_view text) {
      return std::ranges::none_of(text, [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
    };
    if (!is_token(name)) {
      response.report().error(place, path, "not a header's name; use letters, digits and dashes");
      continue;
    }
    if (value.is(Node::Kind::Boolean)) {
      if (value.boolean) response.wrong_type(value, path, "false to remove it, or its text");
    } else if (value.is(Node::Kind::Array)) {
      rule.values.emplace();
      for (const auto& item : value.items) {
        if (item.is(Node::Kind::String) && is_value(item.text)) {
          rule.values->push_back(item.text);
        } else {
          response.wrong_type(item, path, "text in quotes, on one line");
        }
      }
    } else if (const auto text = scalar_text(value); text && is_value(*text)) {
      rule.values = std::vector{*text};
    } else {
      response.wrong_type(value, path, "text on one line, a list of texts, or false to remove it");
    }
    options.response_headers.push_back(std::move(rule));
  }
}

void read_replay_cache(TableReader& reader, HttpOptions& options) {
  std::size_t index = 0;
  for (const Node* const table : reader.tables("replay_cache")) {
    TableReader inner(*table, reader.item_path("replay_cache", index++), reader.report());
    ReplayCacheRule rule;
    std::uint32_t ttl = static_cast<std::uint32_t>(rule.ttl.count());
    inner.read("path_prefix", rule.path_prefix);
    inner.read_number("ttl_seconds", ttl, 1, kMostSeconds);
    rule.ttl = std::chrono::seconds{ttl};
    inner.read("type", rule.type);
    inner.read("name", rule.name);
    inner.read("allow_bypass", rule.allow_bypass);
    inner.finish();
    if (rule.type != "cookie" && rule.type != "header") {
      inner.report().error(table->place, inner.path("type"),
                           "write \"cookie\" or \"header\"; one is needed");
    }
    options.replay_cache.push_back(std::move(rule));
  }
}

}  // namespace

HttpOptions read_http_options(const Node& table, const std::string& path, Report& report) {
  TableReader reader(table, path, report);
  HttpOptions options;
  reader.read("compress", options.compress);
  reader.read("h2_backend", options.h2_backend);
  if (const Node* const response = reader.table("response")) {
    TableReader inner(*response, reader.path("response"), report);
    inner.read("pristine", options.pristine);
    read_response_headers(inner, options);
    inner.finish();
  }
  const auto seconds = [&](std::string_view key, std::optional<std::chrono::seconds>& to) {
    std::uint32_t value = 0;
    const bool present = table.find(key) != nullptr;
    reader.read_number(key, value, 0, kMostSeconds);
    if (present && value > 0) to = std::chrono::seconds{value};
  };
  seconds("idle_timeout", options.idle_timeout);
  seconds("headers_read_timeout", options.headers_read_timeout);
  read_replay_cache(reader, options);
  reader.finish();
  return options;
}

}  // namespace rooster::config
