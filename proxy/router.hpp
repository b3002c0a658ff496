// Router: host and port of a request to the app's service (step 5). One per worker, changed by
// deltas on the worker's own thread; a match allocates nothing and costs the same with ten apps as
// with 100 000.
#pragma once

#include "config/app_config.hpp"
#include "core/error.hpp"
#include "core/ids.hpp"
#include "proxy/port_plans.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace rooster::proxy {

/// Where a request goes. The pointers live as long as the AppConfig that was adopted: pin it (by
/// the AppView).
struct Route {
  AppId app;
  const config::Service* service = nullptr;
  const config::Port* port = nullptr;
};

class Router {
 public:
  /// `domain`: an app named hello answers to hello.<domain>; lower case.
  explicit Router(std::string domain) : domain_(std::move(domain)) {}

  /// Takes the app's names and services in, or in place of what `app` had before.
  void adopt(AppId app, std::shared_ptr<const config::AppConfig> config);
  void remove(AppId app);
  void set_domain(std::string domain);

  /// The route of an HTTP request to `host` (as sent: a port, a trailing dot and any case are fine)
  /// that came in on `external_port`, the port of the service (80 or 443 for rooster.toml's http
  /// and https listeners). Errors: BadHost: not a host name. NoRoute: no app has this name, or
  /// nothing public that speaks HTTP there.
  Result<Route> match(std::string_view host, std::uint16_t external_port) const;

  /// The route of an HTTP/1.0 request without Host: the only app, if there is just one.
  /// Errors: BadHost: there are several (or none) to choose from.
  Result<Route> match_without_host(std::uint16_t external_port) const;

  /// The route of a request to the app's private address, public or not. Errors: NoRoute.
  Result<Route> match_private(AppId app, std::uint16_t external_port) const;

  /// Whose name this is (a Host or an SNI), whatever its services.
  std::optional<AppId> find_app(std::string_view host) const;

  /// What the apps want on a public port.
  PortPlan plan(std::uint16_t external_port) const { return ports_.at(external_port); }

  std::size_t size() const { return apps_.size(); }

 private:
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>{}(text);
    }
  };
  using NameMap = std::unordered_map<std::string, AppId, TextHash, std::equal_to<>>;

  enum class Reach : std::uint8_t { Public, Private };
  Result<Route> route_to(AppId app, std::uint16_t external_port, Reach reach = Reach::Public) const;
  const AppId* find_name(std::string_view key) const;
  void add_names(AppId app, const config::AppConfig& config);
  void drop_names(AppId app, const config::AppConfig& config);
  std::string default_name(const config::AppConfig& config) const;

  std::string domain_;
  std::unordered_map<AppId, std::shared_ptr<const config::AppConfig>> apps_;
  PortPlans ports_;
  NameMap names_;     ///< exact
  NameMap suffixes_;  ///< "example.com" of "*.example.com"
};

}  // namespace rooster::proxy
