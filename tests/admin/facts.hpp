// Apps as control would describe them, and a node that gives them.
#pragma once

#include "admin/node.hpp"
#include "core/address.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace rooster::admin::testing {

using namespace std::chrono_literals;

inline const TimePoint kNow = TimePoint(1000s);
inline constexpr std::int64_t kBootNow = 500'000;

/// hello: a process behind 80 and 443 with force_https, autostop after five minutes.
inline config::AppConfig hello_config() {
  config::AppConfig app;
  app.name = "hello";
  app.file = "/apps/hello.toml";
  app.primary_region = "gru";
  app.processes = {{.group = "app", .command = {"serve"}}};
  config::Service service;
  service.internal_port = 8000;
  service.autostop = config::Autostop::Stop;
  config::Port http;
  http.start = http.end = 80;
  http.handlers = {config::Handler::Http};
  http.force_https = true;
  config::Port https;
  https.start = https.end = 443;
  https.handlers = {config::Handler::Http, config::Handler::Tls};
  service.ports = {http, https};
  app.services = {service};
  app.rooster.hostnames = {"example.com", "*.hello.example.com"};
  return app;
}

/// An app in one phase, with one machine that runs in the phases Ready and Stopping.
class FactsMaker {
 public:
  explicit FactsMaker(config::AppConfig app = hello_config())
      : config_(std::make_shared<config::AppConfig>(std::move(app))) {
    machine_.id = MachineId{"908027d3be7938"};
    machine_.region = "gru";
    machine_.group = "app";
    machine_.address = IpAddress::v4(0x7F000001);
    machine_.load = std::make_shared<machines::MachineLoad>(AppId{0});
    wake_.group = "app";
  }

  FactsMaker& phase(machines::WakePhase phase) {
    wake_.phase = phase;
    if (phase == machines::WakePhase::Ready) {
      machine_.awake = machine_.routable = true;
      machine_.load_generation = machine_.load->reopen(kBootNow - 42'000);
    }
    return *this;
  }
  FactsMaker& failed(Fault fault, TimePoint retry_at) {
    wake_.phase = machines::WakePhase::Failed;
    wake_.fault = fault;
    wake_.detail = "its words";
    wake_.retry_at = retry_at;
    return *this;
  }
  FactsMaker& in_flight(int count) {
    for (int i = 0; i < count; ++i) {
      EXPECT_TRUE(machine_.load->try_take(machine_.load_generation, 1000));
    }
    return *this;
  }
  FactsMaker& ledger(machines::LedgerEntry entry) {
    ledger_.push_back(std::move(entry));
    return *this;
  }
  config::AppConfig& config() { return *config_; }
  machines::MachineView& machine() { return machine_; }
  machines::WakeState& wake() { return wake_; }

  AppFacts make() const {
    auto view = std::make_shared<machines::AppView>();
    view->config = config_;
    view->machines = {machine_};
    view->wakes = {wake_};
    AppFacts facts;
    facts.view = view;
    facts.ledger = ledger_;
    facts.machines[machine_.id.value] = {
        .state = machine_.awake ? "started" : "stopped",
        .pid = machine_.awake ? 77 : 0,
        .version = 1,
        .updated = WallTime(1'748'348'953s),
        .checks = {{"servicecheck-00-http-8000", true, "200 OK", {}}}};
    return facts;
  }

 private:
  std::shared_ptr<config::AppConfig> config_;
  machines::MachineView machine_;
  machines::WakeState wake_;
  std::vector<machines::LedgerEntry> ledger_;
};

inline machines::LedgerEntry entry(machines::LedgerEntry::Kind kind, std::chrono::milliseconds at,
                                   std::string source, std::string reason,
                                   Fault fault = Fault::None) {
  machines::LedgerEntry made;
  made.kind = kind;
  made.at = WallTime(1'748'348'953s) + at;
  made.machine = "908027d3be7938";
  made.source = std::move(source);
  made.reason = std::move(reason);
  made.fault = fault;
  return made;
}

inline std::shared_ptr<config::ConfigSet> config_set(std::vector<config::AppConfig> apps) {
  auto set = std::make_shared<config::ConfigSet>();
  set->node.reloadable.domain = "app.dev";
  set->node.fixed.http = {{"", 8080}};
  set->node.fixed.https = {{"", 8443}};
  for (config::AppConfig& app : apps) {
    set->apps.push_back(std::make_shared<const config::AppConfig>(std::move(app)));
  }
  std::ranges::sort(set->apps, {}, [](const auto& app) { return app->name; });
  return set;
}

inline bool has(const std::string& text, std::string_view part) {
  return text.contains(part);
}

}  // namespace rooster::admin::testing
