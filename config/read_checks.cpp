// Health checks: of services, and the top-level ones. Whole numbers are milliseconds.
#include "config/app_reader.hpp"
#include "config/scalars.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace rooster::config {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

constexpr DurationBounds kAny{.bare = BareNumber::Milliseconds};

/// Fly raises and lowers a check's times into its bounds rather than refusing them.
void read_clamped(TableReader& reader, std::string_view key, milliseconds& to, milliseconds least,
                  milliseconds most, bool zero_is_fine = false) {
  if (!reader.read_duration(key, to, kAny)) return;
  if (zero_is_fine && to == 0ms) return;
  const milliseconds bounded = std::clamp(to, least, most);
  if (bounded == to) return;
  reader.report().warn(
      reader.find(key)->value.place, reader.path(key),
      fmt::format("{} is {} to {}; write \"{}\"", to_text(to), bounded > to ? "raised" : "lowered",
                  to_text(bounded), to_text(bounded)));
  to = bounded;
}

/// A map of name to scalar, or a list of {name, value}.
void read_headers(TableReader& reader, Check& check) {
  const Member* const member = reader.find("headers");
  if (member == nullptr) return;
  const auto add = [&](const std::string& name, const Node& value) {
    const Node& one =
        value.is(Node::Kind::Array) && value.items.size() == 1 ? value.items[0] : value;
    const auto text = scalar_text(one);
    if (!text || text->find_first_of("\r\n") != std::string::npos ||
        name.find_first_of("\r\n: ") != std::string::npos) {
      reader.wrong_type(value, reader.path("headers." + name), "text in quotes, on one line");
    } else {
      check.headers.emplace_back(name, *text);
    }
  };
  if (member->value.is(Node::Kind::Table)) {
    for (const auto& [name, place, value] : member->value.members) add(name, value);
    return;
  }
  std::size_t index = 0;
  for (const Node* const table : reader.tables("headers")) {
    TableReader inner(*table, reader.item_path("headers", index++), reader.report());
    std::string name;
    inner.read("name", name);
    if (const Member* const value = inner.find("value"); value != nullptr && !name.empty()) {
      add(name, value->value);
    } else {
      reader.report().error(table->place, inner.path("name"),
                            "write { name = \"…\", value = \"…\" }; one is missing");
    }
    inner.finish();
  }
}

void read_http_fields(TableReader& reader, Check& check) {
  reader.read("method", check.method);
  std::ranges::transform(check.method, check.method.begin(), [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  if (check.method.empty()) check.method = "GET";
  if (!std::ranges::all_of(check.method, [](char c) { return c >= 'A' && c <= 'Z'; })) {
    reader.report().error(reader.find("method")->value.place, reader.path("method"),
                          "not a method; write \"GET\" or \"HEAD\"");
  }
  reader.read("path", check.path);
  if (check.path.empty()) check.path = "/";
  if (check.path.find_first_of(" \r\n\t") != std::string::npos) {
    reader.report().error(reader.find("path")->value.place, reader.path("path"),
                          "a path has no blanks; write them as %20");
  } else if (!check.path.starts_with('/')) {
    check.path.insert(0, "/");
  }
  reader.read("protocol", check.protocol);
  if (check.protocol.empty()) check.protocol = "http";
  if (check.protocol != "http" && check.protocol != "https") {
    reader.report().error(
        reader.find("protocol")->value.place, reader.path("protocol"),
        fmt::format("\"{}\" can't be checked; write \"http\" or \"https\"", check.protocol));
  }
  reader.read("tls_skip_verify", check.tls_skip_verify);
  reader.read("tls_server_name", check.tls_server_name);
  read_headers(reader, check);
}

void read_times(TableReader& reader, Check& check, bool of_service) {
  read_clamped(reader, "interval", check.interval, of_service ? 1s : 2s, of_service ? 60s : 24h);
  read_clamped(reader, "timeout", check.timeout, 1s, 60s);
  read_clamped(reader, "grace_period", check.grace_period, of_service ? 1s : 0s,
               of_service ? 60s : 24h, true);
  reader.accept({"restart_limit"});
}

Check read_named_check(const Node& table, const std::string& path, const AppConfig& app,
                       Report& report) {
  TableReader reader(table, path, report);
  Check check;
  std::string type;
  reader.read("type", type);
  if (type == "http") {
    check.kind = Check::Kind::Http;
  } else if (type != "tcp") {
    report.error(table.place, reader.path("type"),
                 fmt::format("\"{}\" is no kind of check; write type = \"http\" or \"tcp\"", type));
  }
  reader.read("name", check.name);
  if (!app.services.empty()) check.port = app.services.front().internal_port;
  reader.read_number("port", check.port, 1, 65535, true);
  if (check.port == 0) {
    report.error(table.place, reader.path("port"),
                 "no port, and no service to take it from; write port = 8080");
  }
  read_times(reader, check, false);
  read_http_fields(reader, check);
  reader.accept({"processes", "kind"});
  reader.finish();
  return check;
}

}  // namespace

Check read_service_check(const Node& table, const std::string& path, Check::Kind kind,
                         std::uint16_t port, std::size_t number, Report& report) {
  TableReader reader(table, path, report);
  const bool http = kind == Check::Kind::Http;
  Check check;
  check.kind = kind;
  check.port = port;
  check.name = fmt::format("servicecheck-{:02}-{}-{}", number, http ? "http" : "tcp", port);
  read_times(reader, check, true);
  if (http) {
    read_http_fields(reader, check);
  }
  reader.accept({"name", "type"});
  // Fly never reads a service check's own port: obeying it would keep such apps from ever getting
  // ready.
  if (const Member* const own = reader.find("port")) {
    report.warn(own->place, reader.path("port"),
                fmt::format("ignored: a service check asks the internal_port {}; remove it", port));
  }
  reader.finish();
  return check;
}

void read_top_level_checks(TableReader& top, AppConfig& app) {
  const Member* const member = top.find("checks");
  if (member == nullptr) return;
  const auto add = [&](const Node& table, const std::string& path, const std::string& name) {
    const Member* const type = table.find("type");
    if (type != nullptr && type->value.is(Node::Kind::String) && type->value.text == "script") {
      top.report().warn(type->value.place, path + ".type",
                        "script checks are not run any more; write type = \"http\" or \"tcp\"");
      return;
    }
    Check check = read_named_check(table, path, app, top.report());
    if (!name.empty()) check.name = name;
    app.checks.push_back(std::move(check));
  };
  if (member->value.is(Node::Kind::Table)) {
    for (const auto& [name, place, value] : member->value.members) {
      if (value.is(Node::Kind::Table)) {
        add(value, "checks." + name, name);
      } else {
        top.wrong_type(value, "checks." + name, fmt::format("a table: [checks.{}]", name));
      }
    }
    return;
  }
  std::size_t index = 0;
  for (const Node* const table : top.tables("checks"))
    add(*table, top.item_path("checks", index++), "");
}

}  // namespace rooster::config
