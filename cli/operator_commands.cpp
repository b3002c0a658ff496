#include "cli/operator_commands.hpp"

#include "cli/terminal.hpp"

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <ostream>

namespace rooster::cli {
namespace {

using boost::json::value;

int print_json(const Console& console, const value& json) {
  console.out << boost::json::serialize(json) << '\n';
  return 0;
}

std::string wake_text(const value& app) {
  const auto* wake = app.as_object().if_contains("last_wake");
  if (wake == nullptr) return "";
  const std::string source = text_at(*wake, "source");
  return text_at(*wake, "at") + (source.empty() ? "" : " by " + source) + ": " +
         text_at(*wake, "reason");
}

// What flyctl's ROLE and CHECKS say in one cell each.
std::string cordon_text(const value& machine) {
  return is_true(machine, "cordoned") ? "cordoned" : "";
}

void print_machines_of(const Asking& asking, const value& app) {
  Table table({"PROCESS", "ID", "VERSION", "REGION", "STATE", "ROLE", "CHECKS", "LAST UPDATED"});
  for (const value& machine : array_at(app, "machines")) {
    table.add({text_at(machine, "process"), text_at(machine, "id"), text_at(machine, "version"),
               text_at(machine, "region"), text_at(machine, "state"), cordon_text(machine),
               text_at(machine, "checks"), text_at(machine, "updated")});
  }
  asking.console.out << paint(asking.console, Colour::Bold, "Machines") << '\n';
  if (table.is_empty()) {
    asking.console.out << "  none\n";
    return;
  }
  table.print(asking.console);
}

int show_app_status(const Asking& asking, const std::string& name) {
  const auto app = asking.node.get("/v1/apps/" + net::encode_query(name));
  if (!app) return print_error(asking.console, app.error().detail);
  if (asking.as_json) return print_json(asking.console, *app);
  asking.console.out << paint(asking.console, Colour::Bold, "App") << '\n';
  const std::string state = text_at(*app, "state");
  std::string hostnames;
  for (const value& hostname : array_at(*app, "hostnames")) {
    hostnames += (hostnames.empty() ? "" : ", ") + std::string(hostname.as_string());
  }
  std::vector<std::pair<std::string, std::string>> pairs{
      {"Name", text_at(*app, "name")},
      {"State", state},
      {"Hostname", text_at(*app, "url")},
      {"Exposure", text_at(*app, "exposure")},
      {"Driver", text_at(*app, "driver")},
      {"Waiting", text_at(*app, "waiting")},
      {"Idle timeout", text_at(*app, "idle_timeout")}};
  if (!hostnames.empty()) pairs.insert(pairs.begin() + 3, {"Other names", hostnames});
  if (const std::string wake = wake_text(*app); !wake.empty())
    pairs.emplace_back("Last wake", wake);
  if (const auto* stop = app->as_object().if_contains("last_stop")) {
    pairs.emplace_back("Last stop", text_at(*stop, "at") + ": " + text_at(*stop, "reason"));
  }
  print_pairs(asking.console, pairs);
  asking.console.out << '\n';
  print_machines_of(asking, *app);
  return 0;
}

void print_report(const Asking& asking, const value& report) {
  for (const value& found : array_at(report, "diagnostics")) {
    const bool is_error = text_at(found, "severity") == "error";
    asking.console.err << paint(asking.console, is_error ? Colour::Red : Colour::Yellow,
                                is_error ? "error: " : "warning: ")
                       << text_at(found, "text") << '\n';
  }
}

std::string done_text(const std::string& order) {
  if (order == "start") return "has been started";
  if (order == "stop") return "has been stopped";
  if (order == "suspend") return "has been suspended";
  return order == "cordon" ? "is cordoned" : "takes requests again";
}

}  // namespace

int print_error(const Console& console, std::string_view message) {
  console.err << paint(console, Colour::Red, "Error: ") << harmless(message) << '\n';
  return 1;
}

int show_status(const Asking& asking, const std::string& app) {
  if (!app.empty()) return show_app_status(asking, app);
  const auto status = asking.node.get("/v1/status");
  if (!status) return print_error(asking.console, status.error().detail);
  const auto apps = asking.node.get_all("/v1/apps", "apps");
  if (!apps) return print_error(asking.console, apps.error().detail);
  if (asking.as_json) {
    boost::json::object both = status->as_object();
    both["app_list"] = *apps;
    return print_json(asking.console, both);
  }
  asking.console.out << paint(asking.console, Colour::Bold, "Node") << '\n';
  std::string listening;
  for (const value& place : array_at(*status, "listening")) {
    listening += (listening.empty() ? "" : ", ") + std::string(place.as_string());
  }
  std::vector<std::pair<std::string, std::string>> pairs{
      {"Version", text_at(*status, "version")},
      {"Region", text_at(*status, "region")},
      {"Domain", text_at(*status, "domain")},
      {"Config", text_at(*status, "config")},
      {"Listening", listening},
      {"Started", text_at(*status, "started")},
      {"Connections", text_at(*status, "connections")},
      {"Waiting", text_at(*status, "waiting")}};
  if (is_true(*status, "draining")) pairs.emplace_back("Draining", "yes");
  if (const std::string error = text_at(*status, "last_reload_error"); !error.empty()) {
    pairs.emplace_back("Last reload", "refused: " + error);
  }
  print_pairs(asking.console, pairs);
  asking.console.out << '\n';
  Table table({"NAME", "STATE", "MACHINES", "WAITING", "EXPOSURE", "URL", "LAST WAKE"});
  for (const value& item : *apps) {
    table.add({text_at(item, "name"), text_at(item, "state"),
               text_at(item, "machines_started") + '/' + text_at(item, "machines_total"),
               text_at(item, "waiting"), text_at(item, "exposure"), text_at(item, "url"),
               wake_text(item)});
  }
  if (!table.is_empty()) table.print(asking.console);
  return 0;
}

int show_checks(const Asking& asking, const std::string& app) {
  const auto found = asking.node.get("/v1/checks", {{"app", app}});
  if (!found) return print_error(asking.console, found.error().detail);
  if (asking.as_json) return print_json(asking.console, *found);
  Table table({"Name", "Status", "Machine", "Last Updated", "Output"});
  for (const value& check : array_at(*found, "checks")) {
    table.add({text_at(check, "name"), text_at(check, "status"), text_at(check, "machine"),
               text_at(check, "updated"), text_at(check, "output")});
  }
  if (table.is_empty()) {
    asking.console.out << "No checks.\n";
  } else {
    table.print(asking.console);
  }
  return 0;
}

int explain(const Asking& asking, const std::string& subject) {
  const bool is_url = subject.find_first_of("./:") != std::string::npos;
  const auto found = asking.node.get("/v1/explain", {{is_url ? "url" : "app", subject}});
  if (!found) return print_error(asking.console, found.error().detail);
  if (asking.as_json) return print_json(asking.console, *found);
  const std::string fault = text_at(*found, "fault");
  const bool is_fine = fault == "-" || fault.empty();
  asking.console.out << paint(asking.console, is_fine ? Colour::Bold : Colour::Red,
                              harmless(text_at(*found, "verdict")));
  if (!is_fine) asking.console.out << paint(asking.console, Colour::Dim, " [" + fault + ']');
  asking.console.out << "\n\n";
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const value& finding : array_at(*found, "findings")) {
    pairs.emplace_back(text_at(finding, "subject"), text_at(finding, "text"));
  }
  std::size_t widest = 0;
  for (const auto& [name, text] : pairs) widest = std::max(widest, name.size());
  for (const auto& [name, text] : pairs) {
    asking.console.out << "  "
                       << paint(asking.console, Colour::Dim,
                                fmt::format("{:<{}}", harmless(name), widest))
                       << "  " << harmless(text) << '\n';
  }
  return 0;
}

int reload(const Asking& asking) {
  const auto report = asking.node.post("/v1/reload");
  if (!report) return print_error(asking.console, report.error().detail);
  const bool is_done = is_true(*report, "ok");
  if (asking.as_json) return print_json(asking.console, *report), is_done ? 0 : 1;
  print_report(asking, *report);
  if (!is_done) {
    return print_error(asking.console, "nothing was changed; mend the files and reload again");
  }
  asking.console.out << "Reloaded: " << text_at(*report, "apps") << " apps, "
                     << text_at(*report, "changed") << " changed\n";
  for (const value& key : array_at(*report, "needs_restart")) {
    asking.console.out << paint(asking.console, Colour::Yellow, "needs a restart: ")
                       << std::string(key.as_string()) << '\n';
  }
  return 0;
}

int show_running_config(const Asking& asking, const std::string& app) {
  const auto found = asking.node.get("/v1/config", {{"app", app}});
  if (!found) return print_error(asking.console, found.error().detail);
  return print_json(asking.console, *found);
}

int show_logs(const Asking& asking, const LogChoice& choice) {
  const QueryArguments query{{"app", choice.app},
                             {"machine", choice.machine},
                             {"region", choice.region},
                             {"most", std::to_string(choice.lines)},
                             {"follow", choice.follow ? "1" : ""},
                             {"format", asking.as_json ? "json" : ""}};
  std::ostream& out = asking.console.out;
  const auto done = asking.node.stream("/v1/logs", query, [&out](std::string_view line) {
    out << line << '\n' << std::flush;
    return static_cast<bool>(out);
  });
  return done ? 0 : print_error(asking.console, done.error().detail);
}

int list_machines(const Asking& asking, const std::string& app, bool only_ids) {
  const auto machines = app.empty()
                            ? asking.node.get_all("/v1/machines", "machines")
                            : asking.node.get_all("/v1/machines", "machines", {{"app", app}});
  if (!machines) return print_error(asking.console, machines.error().detail);
  if (asking.as_json) return print_json(asking.console, *machines);
  if (only_ids) {
    for (const value& machine : *machines) asking.console.out << text_at(machine, "id") << '\n';
    return 0;
  }
  Table table({"ID", "NAME", "STATE", "CHECKS", "REGION", "ROLE", "IMAGE", "IP ADDRESS",
               "LAST UPDATED", "PROCESS GROUP", "IN FLIGHT"});
  for (const value& machine : *machines) {
    table.add({text_at(machine, "id"), text_at(machine, "app"), text_at(machine, "state"),
               text_at(machine, "checks"), text_at(machine, "region"), cordon_text(machine),
               text_at(machine, "image"), text_at(machine, "ip"), text_at(machine, "updated"),
               text_at(machine, "process"), text_at(machine, "in_flight")});
  }
  if (table.is_empty()) {
    asking.console.out << "No machines.\n";
  } else {
    table.print(asking.console);
  }
  return 0;
}

int order_machines(const Asking& asking, const MachineChoice& choice) {
  std::vector<std::string> ids = choice.ids;
  if (ids.empty()) {
    const auto machines = asking.node.get_all("/v1/machines", "machines", {{"app", choice.app}});
    if (!machines) return print_error(asking.console, machines.error().detail);
    for (const value& machine : *machines) ids.push_back(text_at(machine, "id"));
  }
  int status = 0;
  boost::json::array results;
  for (const std::string& id : ids) {
    const auto done =
        asking.node.post("/v1/machines/" + net::encode_query(id) + '/' + choice.order,
                         {{"signal", choice.signal}, {"timeout", choice.timeout_seconds}});
    if (!done) {
      status = print_error(asking.console, id + ": " + done.error().detail);
    } else if (asking.as_json) {
      results.push_back(*done);
    } else {
      asking.console.out << id << ' ' << done_text(choice.order) << '\n';
    }
  }
  if (asking.as_json) print_json(asking.console, results);
  return status;
}

}  // namespace rooster::cli
