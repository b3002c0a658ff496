// Settings that are each allowed and together cause an outage or do nothing.
#include "config/app_reader.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace rooster::config {
namespace {

/// The table a service was read from, to point at.
struct ServiceTable {
  const Node* table;
  std::string path;
};

std::vector<ServiceTable> service_tables(const Node& top) {
  std::vector<ServiceTable> found;
  if (const Member* const http = top.find("http_service"))
    found.push_back({&http->value, "http_service"});
  const Member* const services = top.find("services");
  if (services == nullptr) return found;
  if (services->value.is(Node::Kind::Table)) found.push_back({&services->value, "services"});
  for (std::size_t i = 0; i < services->value.items.size(); ++i) {
    found.push_back({&services->value.items[i], fmt::format("services[{}]", i)});
  }
  return found;
}

Place place_of(const Node& table, std::string_view key) {
  const Member* const member = table.find(key);
  return member == nullptr ? table.place : member->value.place;
}

void warn_of_service(const Service& service, const ServiceTable& at, Report& report) {
  if (service.autostop != Autostop::Off && !service.autostart) {
    report.warn(place_of(*at.table, "auto_start_machines"), at.path + ".auto_start_machines",
                "machines stop by themselves and nothing starts them again; write "
                "auto_start_machines = true, or auto_stop_machines = \"off\"");
  }
  const Concurrency& limits = service.concurrency;
  if (limits.hard_limit > 0 && limits.hard_limit < limits.soft_limit) {
    report.warn(
        place_of(*at.table, "concurrency"), at.path + ".concurrency",
        fmt::format("hard_limit {} is below soft_limit {}; write a soft_limit of at most {}",
                    limits.hard_limit, limits.soft_limit, limits.hard_limit));
  }
  if (service.ports.empty()) {
    report.warn(at.table->place, at.path + ".ports",
                "no port leads to this service; write [[services.ports]] with port = 443");
  }
  for (std::size_t i = 0; i < service.ports.size(); ++i) {
    const Port& port = service.ports[i];
    const std::string path =
        at.path == "http_service" ? at.path : fmt::format("{}.ports[{}]", at.path, i);
    if (service.protocol == Protocol::Udp && !port.handlers.empty()) {
      report.warn(at.table->place, path + ".handlers", "UDP has no handlers; remove them");
    }
    if (port.force_https && !port.has(Handler::Http)) {
      report.warn(at.table->place, path + ".force_https",
                  "has no effect without the http handler; write handlers = [\"http\"]");
    }
  }
}

/// Two services of one app on the same port: the second never gets a request.
void warn_of_overlaps(const AppConfig& app, const std::vector<ServiceTable>& tables,
                      Report& report) {
  for (std::size_t i = 0; i < app.services.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (app.services[i].protocol != app.services[j].protocol) continue;
      for (const auto& port : app.services[i].ports) {
        const auto& earlier = app.services[j].ports;
        const auto same = std::ranges::find_if(earlier, [&](const Port& other) {
          return port.start <= other.end && other.start <= port.end;
        });
        if (same == earlier.end()) continue;
        report.warn(
            tables[i].table->place, tables[i].path + ".ports",
            fmt::format("port {} is {}'s already (line {}), which gets everything; remove one",
                        port.start, tables[j].path, tables[j].table->place.line));
        break;
      }
    }
  }
}

void warn_of_force_https(const AppConfig& app, const std::vector<ServiceTable>& tables,
                         Report& report) {
  const auto secure = [&](const Service& service) {
    return std::ranges::any_of(service.ports, [](const Port& port) {
      return port.has(Handler::Tls) && port.has(Handler::Http);
    });
  };
  if (std::ranges::any_of(app.services, secure)) return;
  for (std::size_t i = 0; i < app.services.size(); ++i) {
    if (std::ranges::none_of(app.services[i].ports, &Port::force_https)) continue;
    report.warn(tables[i].table->place, tables[i].path + ".force_https",
                "redirects to https, which no port serves; add port 443 with handlers = [\"tls\", "
                "\"http\"]");
  }
}

void warn_of_machines(const Node& top, const AppConfig& app, Report& report) {
  const Member* const rooster = top.find("rooster");
  if (rooster == nullptr) return;
  const auto place = [&](std::string_view key) { return place_of(rooster->value, key); };
  for (const auto& [region, least] : app.rooster.min_machines) {
    const auto count = app.rooster.machines.find(region);
    if (count == app.rooster.machines.end()) {
      report.warn(place("min_machines"), "rooster.min_machines." + region,
                  fmt::format("no machine is in \"{}\"; write machines = {{ {} = {} }}", region,
                              region, least));
    } else if (count->second < least) {
      report.warn(place("min_machines"), "rooster.min_machines." + region,
                  fmt::format("{} of {} machines can't run; write at most {}", least, count->second,
                              count->second));
    }
    const auto most = app.rooster.max_machines.find(region);
    if (most != app.rooster.max_machines.end() && most->second < least) {
      report.warn(place("max_machines"), "rooster.max_machines." + region,
                  fmt::format("below min_machines {}; write at least that", least));
    }
  }
  for (const auto& [region, most] : app.rooster.max_machines) {
    if (!app.rooster.machines.contains(region)) {
      report.warn(place("max_machines"), "rooster.max_machines." + region,
                  fmt::format("no machine is in \"{}\"; add it to machines", region));
    }
  }
}

}  // namespace

void warn_of_contradictions(const Node& top, const AppConfig& app, Report& report) {
  const auto tables = service_tables(top);
  if (tables.size() == app.services.size()) {
    for (std::size_t i = 0; i < tables.size(); ++i)
      warn_of_service(app.services[i], tables[i], report);
    warn_of_overlaps(app, tables, report);
    warn_of_force_https(app, tables, report);
  }
  warn_of_machines(top, app, report);
  const auto driver = app.driver();
  if (driver == DriverKind::None) {
    report.warn(
        {1, 1}, "",
        "nothing can start this app; write [processes] app = \"command\", [build] image, or "
        "[rooster] address");
  } else if (driver == DriverKind::Process && app.rooster.driver == DriverKind::Process &&
             std::ranges::all_of(app.processes,
                                 [](const auto& one) { return one.command.empty(); })) {
    report.warn({1, 1}, "processes",
                "the process driver has no command; write [processes] app = \"command\"");
  }
}

}  // namespace rooster::config
