// The parts of parse_app, one per group of fly.toml tables. Internal to config/.
#pragma once

#include "config/app_config.hpp"
#include "config/parse_app.hpp"
#include "config/table_reader.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace rooster::config {

/// [http_service] and [[services]] into app.services.
void read_services(TableReader& top, AppConfig& app);
/// One service check; `number` counts the app's checks from 0 for its name.
Check read_service_check(const Node& table, const std::string& path, Check::Kind kind,
                         std::uint16_t port, std::size_t number, Report& report);
/// [checks.NAME] and [[checks]].
void read_top_level_checks(TableReader& top, AppConfig& app);
HttpOptions read_http_options(const Node& table, const std::string& path, Report& report);
TlsOptions read_tls_options(const Node& table, const std::string& path, Report& report);
/// [rooster]: here an unknown key is an error.
void read_rooster_table(TableReader& top, AppConfig& app, NamePlaces& places);
/// Tables that mean something to Fly but nothing to a proxy: checked for unknown keys and types,
/// not kept.
void read_platform_tables(TableReader& top);
/// Warnings about settings that contradict each other.
void warn_of_contradictions(const Node& top, const AppConfig& app, Report& report);

}  // namespace rooster::config
