// The API's values as JSON, with flyctl's names where it has them.
#pragma once

#include "admin/explain.hpp"
#include "admin/node.hpp"
#include "core/json_text.hpp"

#include <string>
#include <string_view>

namespace rooster::admin {

/// Fly's word for what the machine is doing: from its facts, else from its row in the view.
std::string machine_state(const AppFacts& facts, const machines::MachineView& machine);

/// The app's phase in one word: "ready", "waking", "asleep", "failed", "stopping", "idle" where it
/// has no machine.
std::string_view app_state(const machines::AppView& view);

std::string_view name_of(machines::WakePhase phase);
std::string_view name_of(config::DriverKind kind);

/// "https://hello.app.dev" (with the port where it is not 443), "" where the app serves no HTTP.
std::string app_url(const config::AppConfig& app, const config::NodeConfig& node);
/// "public" or "private", and by what.
std::string app_exposure(const config::AppConfig& app);

void write_app(JsonWriter& json, const AppFacts& facts, const config::NodeConfig& node,
               bool is_detailed);
void write_machine(JsonWriter& json, const AppFacts& facts, const machines::MachineView& machine);
void write_checks(JsonWriter& json, const AppFacts& facts);
void write_status(JsonWriter& json, const NodeStatus& status);
void write_report(JsonWriter& json, const ConfigReport& report);
void write_log_line(JsonWriter& json, const LogLine& line);
void write_explanation(JsonWriter& json, const Explanation& explanation);

}  // namespace rooster::admin
