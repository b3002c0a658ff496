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

}  // namespace rooster::config
