#include "app/start_report.hpp"

#include "config/exposure.hpp"

namespace rooster::app {

namespace {

constexpr std::size_t kMostApps = 20;

// Where it is asked for: from outside by its name, or inside its private network alone.
std::string url_of(const config::AppConfig& app, const std::string& domain,
                   std::uint16_t https_port) {
  if (!config::is_public(app)) return app.name + ".flycast";
  std::string url = "https://" + app.name + "." + domain;
  if (https_port != 443) url += ":" + std::to_string(https_port);
  return url;
}

}  // namespace

void report_start(Log& log, const config::ConfigSet& config,
                  const std::vector<std::string>& listening, std::uint16_t https_port,
                  const std::string& local_ca_file) {
  for (const std::string& place : listening) log.info("listening", {{"on", place}});
  if (!local_ca_file.empty()) {
    log.info("certificates are signed by this node's own CA; clients must trust it",
             {{"ca", local_ca_file}});
  }
  std::size_t told = 0;
  for (const auto& app : config.apps) {
    if (++told > kMostApps) break;
    log.info("serving", {{"url", url_of(*app, config.node.reloadable.domain, https_port)},
                         {"app", app->name},
                         {"exposure", config::exposure(*app)}});
  }
  if (config.apps.size() > kMostApps) {
    log.info("and further apps: `rooster status` shows all",
             {{"apps", config.apps.size() - kMostApps}});
  }
  log.info("ready");
}

}  // namespace rooster::app
