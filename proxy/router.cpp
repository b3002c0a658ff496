#include "proxy/router.hpp"

#include "config/hostname.hpp"

#include <utility>

namespace rooster::proxy {
namespace {

constexpr std::string_view kAny = "*.";

}  // namespace

void Router::adopt(AppId app, std::shared_ptr<const config::AppConfig> config) {
  auto& slot = apps_[app];
  // The same names as before are the usual case: nothing to hash again.
  const bool same_names =
      slot && slot->name == config->name && slot->rooster.hostnames == config->rooster.hostnames;
  const auto before = std::exchange(slot, std::move(config));
  ports_.adopt(app, before.get(), slot.get());
  if (same_names) return;
  if (before) drop_names(app, *before);
  add_names(app, *slot);
}

void Router::remove(AppId app) {
  const auto found = apps_.find(app);
  if (found == apps_.end()) return;
  drop_names(app, *found->second);
  ports_.adopt(app, found->second.get(), nullptr);
  apps_.erase(found);
}

void Router::set_domain(std::string domain) {
  if (domain == domain_) return;
  names_.clear();
  suffixes_.clear();
  domain_ = std::move(domain);
  for (const auto& [app, config] : apps_) add_names(app, *config);
}

std::string Router::default_name(const config::AppConfig& config) const {
  return config.name + '.' + domain_;
}

void Router::add_names(AppId app, const config::AppConfig& config) {
  names_.insert_or_assign(default_name(config), app);
  for (const auto& name : config.rooster.hostnames) {
    if (name.starts_with(kAny)) {
      suffixes_.insert_or_assign(name.substr(kAny.size()), app);
    } else {
      names_.insert_or_assign(name, app);
    }
  }
}

void Router::drop_names(AppId app, const config::AppConfig& config) {
  // A name that another app has adopted meanwhile stays that app's: deltas come in any order.
  const auto drop = [app](NameMap& map, std::string_view name) {
    const auto found = map.find(name);
    if (found != map.end() && found->second == app) map.erase(found);
  };
  drop(names_, default_name(config));
  for (const auto& name : config.rooster.hostnames) {
    if (name.starts_with(kAny)) {
      drop(suffixes_, std::string_view(name).substr(kAny.size()));
    } else {
      drop(names_, name);
    }
  }
}

const AppId* Router::find_name(std::string_view key) const {
  if (const auto exact = names_.find(key); exact != names_.end()) return &exact->second;
  if (suffixes_.empty()) return nullptr;
  // The longest suffix wins; a name has at most 127 labels.
  for (auto dot = key.find('.'); dot != std::string_view::npos; dot = key.find('.')) {
    key.remove_prefix(dot + 1);
    if (const auto found = suffixes_.find(key); found != suffixes_.end()) return &found->second;
  }
  return nullptr;
}

Result<Route> Router::route_to(AppId app, std::uint16_t external_port, Reach reach) const {
  const config::AppConfig& config = *apps_.find(app)->second;
  for (const auto& service : config.services) {
    if (service.protocol != config::Protocol::Tcp) continue;
    for (const auto& port : service.ports) {
      if (!port.contains(external_port) || !port.has(config::Handler::Http)) continue;
      if (reach == Reach::Public && !config.is_exposed(port)) continue;
      return Route{.app = app, .service = &service, .port = &port};
    }
  }
  return fail(Fault::NoRoute);
}

Result<Route> Router::match(std::string_view host, std::uint16_t external_port) const {
  const auto key = config::to_host_key(host);
  if (!key) return fail(Fault::BadHost);
  const AppId* const app = find_name(key->view());
  if (app == nullptr) return fail(Fault::NoRoute);
  return route_to(*app, external_port);
}

Result<Route> Router::match_without_host(std::uint16_t external_port) const {
  if (apps_.size() != 1) return fail(Fault::BadHost);
  return route_to(apps_.begin()->first, external_port);
}

Result<Route> Router::match_private(AppId app, std::uint16_t external_port) const {
  if (!apps_.contains(app)) return fail(Fault::NoRoute);
  return route_to(app, external_port, Reach::Private);
}

std::optional<AppId> Router::find_app(std::string_view host) const {
  const auto key = config::to_host_key(host);
  if (!key) return std::nullopt;
  const AppId* const app = find_name(key->view());
  return app == nullptr ? std::nullopt : std::optional(*app);
}

}  // namespace rooster::proxy
