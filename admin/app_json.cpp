#include "admin/app_json.hpp"

#include "admin/history.hpp"
#include "admin/time_text.hpp"
#include "core/log.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace rooster::admin {
namespace {

using machines::MachineView;
using machines::WakePhase;

const MachineFacts* facts_of(const AppFacts& facts, const MachineView& machine) {
  const auto found = facts.machines.find(machine.id.value);
  return found == facts.machines.end() ? nullptr : &found->second;
}

std::string checks_summary(const MachineFacts* facts) {
  if (facts == nullptr || facts->checks.empty()) return "";
  const auto passing = std::ranges::count(facts->checks, true, &CheckStatus::passing);
  return fmt::format("{} total, {} passing", facts->checks.size(), passing);
}

void write_time(JsonWriter& json, std::string_view key, WallTime at) {
  if (at != WallTime{}) json.field(key, format_time(at));
}

void write_entry(JsonWriter& json, const machines::LedgerEntry& entry) {
  json.begin_object().field("kind", machines::to_string(entry.kind));
  json.field("at", format_time(entry.at)).field("machine", entry.machine);
  json.field("source", entry.source).field("reason", entry.reason);
  json.field("fault", describe(entry.fault).token).end_object();
}

void write_last_wake(JsonWriter& json, const LastWake& last) {
  json.key("last_wake").begin_object().field("at", format_time(last.wake->at));
  json.field("source", last.wake->source).field("reason", last.wake->reason);
  const Fault fault = last.outcome == nullptr ? Fault::None : last.outcome->fault;
  json.field("fault", describe(fault).token);
  if (const auto took = last.took()) json.field("took_ms", took->count());
  json.end_object();
}

void write_groups(JsonWriter& json, const machines::AppView& view) {
  json.key("groups").begin_array();
  for (const machines::WakeState& wake : view.wakes) {
    json.begin_object().field("name", wake.group).field("state", name_of(wake.phase));
    if (wake.phase == WakePhase::Failed) {
      json.field("fault", describe(wake.fault).token).field("detail", wake.detail);
    }
    json.field("autostart", wake.autostart).end_object();
  }
  json.end_array();
}

void write_services(JsonWriter& json, const config::AppConfig& app) {
  json.key("services").begin_array();
  for (const config::Service& service : app.services) {
    json.begin_object();
    json.field("protocol", service.protocol == config::Protocol::Tcp ? "tcp" : "udp");
    json.field("internal_port", service.internal_port);
    json.key("ports").begin_array();
    for (const config::Port& port : service.ports) {
      json.begin_object().field("port", port.start);
      if (port.end != port.start) json.field("end_port", port.end);
      json.field("force_https", port.force_https)
          .field("public", app.is_exposed(port))
          .end_object();
    }
    json.end_array().end_object();
  }
  json.end_array();
}

}  // namespace

std::string_view name_of(WakePhase phase) {
  constexpr std::array<std::string_view, 5> kNames{"asleep", "waking", "ready", "failed",
                                                   "stopping"};
  return kNames[static_cast<std::size_t>(phase)];
}

std::string_view name_of(config::DriverKind kind) {
  constexpr std::array<std::string_view, 5> kNames{"none", "process", "docker", "machines-api",
                                                   "address"};
  return kNames[static_cast<std::size_t>(kind)];
}

std::string machine_state(const AppFacts& facts, const MachineView& machine) {
  if (const MachineFacts* known = facts_of(facts, machine);
      known != nullptr && !known->state.empty()) {
    return known->state;
  }
  return machine.awake ? "started" : "stopped";
}

std::string_view app_state(const machines::AppView& view) {
  for (const WakePhase phase :
       {WakePhase::Failed, WakePhase::Waking, WakePhase::Stopping, WakePhase::Ready}) {
    if (std::ranges::find(view.wakes, phase, &machines::WakeState::phase) != view.wakes.end())
      return name_of(phase);
  }
  return name_of(WakePhase::Asleep);
}

std::string app_url(const config::AppConfig& app, const config::NodeConfig& node) {
  const bool serves_http =
      std::ranges::any_of(app.services, [&app](const config::Service& service) {
        return std::ranges::any_of(service.ports, [&app](const config::Port& port) {
          return port.has(config::Handler::Http) && app.is_exposed(port);
        });
      });
  if (!serves_http) return {};
  std::string url = fmt::format("https://{}.{}", app.name, node.reloadable.domain);
  if (!node.fixed.https.empty() && node.fixed.https.front().port != 443) {
    url += fmt::format(":{}", node.fixed.https.front().port);
  }
  return url;
}

std::string app_exposure(const config::AppConfig& app) {
  std::size_t open = 0;
  std::size_t all = 0;
  for (const config::Service& service : app.services) {
    for (const config::Port& port : service.ports) {
      ++all;
      if (app.is_exposed(port)) ++open;
    }
  }
  if (open == 0) return "private";
  return open == all ? "public" : fmt::format("public: {} of {} ports", open, all);
}

void write_machine(JsonWriter& json, const AppFacts& facts, const MachineView& machine) {
  const MachineFacts* known = facts_of(facts, machine);
  json.begin_object().field("id", machine.id.value).field("app", facts.view->config->name);
  json.field("process", machine.group).field("region", machine.region);
  json.field("state", machine_state(facts, machine)).field("cordoned", machine.cordoned);
  json.field("version", known == nullptr ? 1U : known->version);
  json.field("checks", checks_summary(known)).field("checks_passing", machine.checks_passing);
  json.field("in_flight", machine.load ? machine.load->in_flight() : 0U);
  json.field("connections", machine.load ? machine.load->connections() : 0U);
  json.field("ip", machine.address == IpAddress{} ? std::string() : machine.address.to_string());
  if (machine.private_address != IpAddress{}) {
    json.field("private_ip", machine.private_address.to_string());
  }
  json.field("image", facts.view->config->image);
  if (known != nullptr) {
    if (known->pid != 0) json.field("pid", known->pid);
    write_time(json, "updated", known->updated);
  }
  if (!machine.fault.empty()) json.field("fault", machine.fault);
  json.end_object();
}

void write_app(JsonWriter& json, const AppFacts& facts, const config::NodeConfig& node,
               bool is_detailed) {
  const config::AppConfig& app = *facts.view->config;
  json.begin_object().field("name", app.name).field("state", app_state(*facts.view));
  json.field("url", app_url(app, node)).field("exposure", app_exposure(app));
  json.field("driver", name_of(app.driver())).field("waiting", facts.waiting);
  const auto awake = std::ranges::count(facts.view->machines, true, &MachineView::awake);
  json.field("machines_started", awake).field("machines_total", facts.view->machines.size());
  if (const LastWake last = find_last_wake(facts.ledger); last.wake != nullptr) {
    write_last_wake(json, last);
  }
  if (const auto* stop = find_last_stop(facts.ledger)) write_entry(json.key("last_stop"), *stop);
  if (is_detailed) {
    json.key("hostnames").begin_array();
    for (const std::string& name : app.rooster.hostnames) json.value(name);
    json.end_array().field("file", app.file);
    json.field("idle_timeout", duration_text(app.rooster.idle_timeout));
    json.field("wake_timeout", duration_text(app.rooster.wake_timeout));
    write_groups(json, *facts.view);
    write_services(json, app);
    json.key("machines").begin_array();
    for (const MachineView& machine : facts.view->machines) write_machine(json, facts, machine);
    json.end_array().key("ledger").begin_array();
    for (const auto& entry : facts.ledger) write_entry(json, entry);
    json.end_array();
  }
  json.end_object();
}

void write_checks(JsonWriter& json, const AppFacts& facts) {
  for (const MachineView& machine : facts.view->machines) {
    const MachineFacts* known = facts_of(facts, machine);
    if (known == nullptr) continue;
    for (const CheckStatus& check : known->checks) {
      json.begin_object()
          .field("name", check.name)
          .field("status", check.passing ? "passing" : "critical");
      json.field("app", facts.view->config->name).field("machine", machine.id.value);
      write_time(json, "updated", check.updated);
      json.field("output", check.output).end_object();
    }
  }
}

void write_status(JsonWriter& json, const NodeStatus& status) {
  json.begin_object().field("version", ROOSTER_VERSION).field("region", status.region);
  json.field("domain", status.domain).field("config", status.config_file);
  write_time(json, "started", status.started);
  json.field("workers", status.workers).field("apps", status.apps);
  json.field("machines_started", status.machines_started).field("connections", status.connections);
  json.field("waiting", status.waiting).field("draining", status.draining);
  json.field("last_reload_error", status.last_reload_error);
  json.key("listening").begin_array();
  for (const std::string& place : status.listening) json.value(place);
  json.end_array().end_object();
}

void write_report(JsonWriter& json, const ConfigReport& report) {
  json.begin_object()
      .field("ok", report.ok)
      .field("apps", report.apps)
      .field("changed", report.changed);
  json.key("needs_restart").begin_array();
  for (const std::string& key : report.needs_restart) json.value(key);
  json.end_array().key("diagnostics").begin_array();
  for (const config::Diagnostic& found : report.diagnostics) {
    json.begin_object();
    json.field("severity", found.severity == config::Severity::Error ? "error" : "warning");
    json.field("file", found.file)
        .field("line", found.place.line)
        .field("column", found.place.column);
    json.field("key", found.key).field("message", found.message);
    json.field("text", config::render(found)).end_object();
  }
  json.end_array().end_object();
}

void write_log_line(JsonWriter& json, const LogLine& line) {
  json.begin_object().field("timestamp", format_time(line.at)).field("provider", line.provider);
  json.field("app", line.app).field("instance", line.machine).field("region", line.region);
  json.field("level", line.level).field("message", line.message).end_object();
}

void write_explanation(JsonWriter& json, const Explanation& explanation) {
  json.begin_object().field("verdict", explanation.verdict);
  json.field("fault", describe(explanation.fault).token).field("app", explanation.app);
  json.key("findings").begin_array();
  for (const Finding& finding : explanation.findings) {
    json.begin_object().field("subject", finding.subject).field("text", finding.text).end_object();
  }
  json.end_array().end_object();
}

}  // namespace rooster::admin
