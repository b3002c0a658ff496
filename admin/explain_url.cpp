#include "admin/explain.hpp"
#include "admin/time_text.hpp"
#include "config/hostname.hpp"
#include "core/address.hpp"
#include "machines/wake_gate.hpp"
#include "machines/wake_policy.hpp"
#include "proxy/router.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace rooster::admin {
namespace {

using machines::AppView;
using machines::MachineView;
using machines::WakePhase;

// A port of rooster.toml's [listen] is 80 or 443 to the services.
std::uint16_t service_port(const config::NodeConfig& node, const ParsedUrl& url) {
  const auto is_one_of = [&url](const std::vector<config::ListenAddress>& listen) {
    return std::ranges::find(listen, url.port, &config::ListenAddress::port) != listen.end();
  };
  if (url.is_https && is_one_of(node.fixed.https)) return 443;
  if (!url.is_https && is_one_of(node.fixed.http)) return 80;
  return url.port;
}

// Only an app with this name or hostname can be what the whole Router would find.
bool may_answer(const config::AppConfig& app, std::string_view key, const std::string& domain) {
  if (key.size() == app.name.size() + 1 + domain.size() && key.starts_with(app.name)) return true;
  return std::ranges::any_of(app.rooster.hostnames, [key](const std::string& name) {
    return name == key ||
           (name.starts_with("*.") && key.ends_with(std::string_view(name).substr(1)));
  });
}

std::string handlers_text(const config::Port& port) {
  std::string text;
  for (const config::Handler handler : port.handlers) {
    constexpr std::array<std::string_view, 4> kNames{"http", "tls", "pg_tls", "proxy_proto"};
    if (!text.empty()) text += ", ";
    text += kNames[static_cast<std::size_t>(handler)];
  }
  return text.empty() ? "no handlers" : text;
}

// What the picker would say of one machine; "" if it would take the exchange.
std::string why_not(const MachineView& machine, const config::Service& service) {
  if (machine.cordoned) return "cordoned";
  if (!machine.awake) return machine.fault.empty() ? "asleep" : "not running: " + machine.fault;
  if (!machine.routable) return "runs, but is not ready or is draining";
  const std::uint32_t limit = machines::lease_limit(machine, service);
  const machines::LoadWord load = machine.load->read();
  if (load.closed) return "closed for new requests: it is about to stop";
  if (load.in_flight >= limit)
    return fmt::format("at its limit: {} of {} in flight", load.in_flight, limit);
  return {};
}

struct Candidates {
  std::size_t free = 0;
  std::string last_free;
};

Candidates look_at_machines(Explanation& out, const AppView& view, const config::Service& service) {
  Candidates candidates;
  for (const MachineView& machine : view.machines) {
    if (!view.carries(machine, service)) continue;
    std::string text = why_not(machine, service);
    if (text.empty()) {
      text = fmt::format("would take it at {}, {} in flight", machine.endpoint(service).to_string(),
                         machine.load->in_flight());
      if (!machine.checks_passing) text += "; its checks fail: only if no other is left";
      ++candidates.free;
      candidates.last_free = machine.id.value;
    }
    out.findings.push_back({"machine " + machine.id.value, machine.region + ": " + text});
  }
  return candidates;
}

void refuse(Explanation& out, Fault fault, std::string verdict) {
  out.fault = fault;
  out.verdict = std::move(verdict);
  out.findings.push_back({"to change it", std::string(describe(fault).hint)});
}

void explain_sleep(Explanation& out, const AppView& view, const config::Service& service,
                   const ParsedUrl& url) {
  const config::AppConfig& app = *view.config;
  std::string why;
  const machines::WakeAttempt attempt{
      .method = "GET", .path = std::string_view(url.path).substr(0, url.path.find('?'))};
  if (app.driver() == config::DriverKind::None) {
    return refuse(out, Fault::NotWakeable, "Refused with 503: nothing can start this app.");
  }
  if (!view.wake_of(service).autostart) {
    return refuse(out, Fault::AutostartOff,
                  "Refused with 503: the app sleeps and only an operator starts it.");
  }
  if (!machines::may_wake(app.rooster.wake, attempt, &why)) {
    return refuse(out, Fault::WakePolicy, "Refused with 503 while the app sleeps: " + why + ".");
  }
  const bool can_start = std::ranges::any_of(view.machines, [&](const MachineView& machine) {
    return view.carries(machine, service) && !machine.cordoned;
  });
  // An address app has its machines from the resolver, at the wake.
  if (!can_start && app.driver() != config::DriverKind::Address) {
    out.fault = Fault::NoHealthyMachine;
    out.verdict = "Refused with 503: every machine of the app is cordoned.";
    out.findings.push_back({"to change it", "rooster machine uncordon <id>"});
    return;
  }
  out.verdict = fmt::format("Held until a machine is ready, up to {}: it wakes the app.",
                            duration_text(app.rooster.wake_timeout));
}

void explain_phase(Explanation& out, const AppView& view, const config::Service& service,
                   const ParsedUrl& url, const Candidates& candidates, TimePoint now) {
  const machines::WakeState& wake = view.wake_of(service);
  const auto timeout = view.config->rooster.wake_timeout;
  switch (wake.phase) {
    case WakePhase::Ready:
      if (candidates.free == 1) {
        out.verdict = "Goes to machine " + candidates.last_free + '.';
      } else if (candidates.free > 1) {
        out.verdict = fmt::format("Goes to one of {} machines, the less busy and nearer first.",
                                  candidates.free);
      } else {
        out.verdict = "Waits for a place: no machine takes another request now.";
        out.findings.push_back({"to change it", "raise hard_limit, or run more machines"});
      }
      return;
    case WakePhase::Asleep:
      return explain_sleep(out, view, service, url);
    case WakePhase::Waking:
      out.verdict = fmt::format("Held until the machine that is starting is ready, up to {}.",
                                duration_text(timeout));
      return;
    case WakePhase::Stopping:
      out.verdict =
          fmt::format("Held while the machine stops, at most {} more, then it is started again.",
                      duration_text(remaining(wake.stop_ends_at, now)));
      return;
    case WakePhase::Failed:
      out.findings.push_back({"last failure", std::string(describe(wake.fault).token) +
                                                  (wake.detail.empty() ? "" : ": " + wake.detail)});
      if (wake.retry_at != kNever && wake.retry_at <= now) {
        out.verdict = fmt::format("Held, up to {}: the last wake failed, this request tries again.",
                                  duration_text(timeout));
      } else if (wake.retry_at == kNever) {
        refuse(out, wake.fault,
               "Refused: the app can't be started until its configuration changes or an operator "
               "starts it.");
      } else {
        refuse(
            out, Fault::WakeBackoff,
            fmt::format("Refused with 503 for {} more: the last wake failed ({}).",
                        duration_text(remaining(wake.retry_at, now)), describe(wake.fault).token));
      }
      return;
  }
}

}  // namespace

std::optional<ParsedUrl> parse_url(std::string_view text) {
  ParsedUrl url;
  if (text.starts_with("http://")) {
    url.is_https = false;
    url.port = 80;
    text.remove_prefix(7);
  } else if (text.starts_with("https://")) {
    text.remove_prefix(8);
  } else if (text.contains("://")) {
    return std::nullopt;
  }
  const std::size_t path = text.find_first_of("/?#");
  if (path != std::string_view::npos) {
    url.path = std::string(text.substr(path, text.find('#') - path));
    if (!url.path.starts_with('/')) url.path.insert(0, 1, '/');
    text = text.substr(0, path);
  }
  if (text.contains('@')) return std::nullopt;
  const std::size_t colon = text.rfind(':');
  const std::size_t bracket = text.rfind(']');
  if (colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket)) {
    const std::string_view port = text.substr(colon + 1);
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), url.port);
    if (error != std::errc() || end != port.data() + port.size() || url.port == 0)
      return std::nullopt;
    text = text.substr(0, colon);
  }
  if (text.empty()) return std::nullopt;
  url.host = std::string(text);
  return url;
}

RouteAnswer find_route(const config::ConfigSet& config, const ParsedUrl& url) {
  RouteAnswer answer;
  const auto key = config::to_host_key(url.host);
  if (!key) {
    answer.fault = Fault::BadHost;
    return answer;
  }
  const std::string& domain = config.node.reloadable.domain;
  proxy::Router router(domain);
  for (std::size_t i = 0; i < config.apps.size(); ++i) {
    if (may_answer(*config.apps[i], key->view(), domain)) {
      router.adopt(AppId{static_cast<std::uint32_t>(i)}, config.apps[i]);
    }
  }
  if (const auto app = router.find_app(url.host)) answer.app = config.apps[app->value];
  if (const auto route = router.match(url.host, service_port(config.node, url))) {
    answer.service = route->service;
    answer.port = route->port;
  } else {
    answer.fault = route.error().fault;
  }
  return answer;
}

Explanation explain_url(const ParsedUrl& url, const RouteAnswer& route, const AppFacts* facts,
                        TimePoint now) {
  Explanation out;
  if (!route.app) {
    refuse(out, route.fault,
           fmt::format("Refused with {}: no app here has the host name {}.",
                       describe(route.fault).status, url.host));
    return out;
  }
  out.app = route.app->name;
  out.findings.push_back({"host", url.host + " belongs to app " + out.app});
  if (route.service == nullptr) {
    refuse(out, route.fault,
           fmt::format("Refused with {}: app {} has nothing public that speaks HTTP on port {}.",
                       describe(route.fault).status, out.app, url.port));
    return out;
  }
  out.findings.push_back(
      {"route", fmt::format("port {} ({}) to internal_port {}", route.port->start,
                            handlers_text(*route.port), route.service->internal_port)});
  if (!url.is_https && route.port->force_https) {
    out.verdict = "Answered with 301 to https, without waking anything: force_https is set.";
    return out;
  }
  if (facts == nullptr || !facts->view) {
    refuse(out, Fault::NoRoute, "The app is configured, but the node does not serve it yet.");
    return out;
  }
  const AppView& view = *facts->view;
  out.findings.push_back({"state", std::string(phase_text(view.wake_of(*route.service).phase))});
  const Candidates candidates = look_at_machines(out, view, *route.service);
  explain_phase(out, view, *route.service, url, candidates, now);
  return out;
}

}  // namespace rooster::admin
