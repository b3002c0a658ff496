#include "proxy/port_plans.hpp"

#include <algorithm>

namespace rooster::proxy {

PortKind kind_of(const config::Port& port) {
  const bool tls = port.has(config::Handler::Tls);
  if (port.has(config::Handler::Http)) return tls ? PortKind::TlsHttp : PortKind::Http;
  if (port.has(config::Handler::PgTls)) return PortKind::PgTls;
  return tls ? PortKind::Tls : PortKind::Raw;
}

ExposedPort exposed_port(const config::AppConfig& app, std::uint16_t external_port) {
  for (const config::Service& service : app.services) {
    if (service.protocol != config::Protocol::Tcp) continue;
    for (const config::Port& port : service.ports) {
      if (port.contains(external_port) && app.is_exposed(port)) return {&service, &port};
    }
  }
  return {};
}

std::optional<AppId> PortPlan::only() const {
  if (others() != 1 || http() != 0) return std::nullopt;
  return AppId{static_cast<decltype(AppId::value)>(sum_of_ids_)};
}

void PortPlan::add(PortKind kind, AppId app) {
  ++counts_[static_cast<std::size_t>(kind)];
  if (kind != PortKind::Http && kind != PortKind::TlsHttp) sum_of_ids_ += app.value;
}

void PortPlan::remove(PortKind kind, AppId app) {
  --counts_[static_cast<std::size_t>(kind)];
  if (kind != PortKind::Http && kind != PortKind::TlsHttp) sum_of_ids_ -= app.value;
}

namespace {

// Each port of an app counts once: its first service gets everything.
template <class Visit>
void visit_ports(const config::AppConfig& app, Visit visit) {
  for (const config::Service& service : app.services) {
    if (service.protocol != config::Protocol::Tcp) continue;
    for (const config::Port& port : service.ports) {
      if (!app.is_exposed(port)) continue;
      if (port.start == port.end && exposed_port(app, port.start).port != &port) continue;
      visit(port);
    }
  }
}

}  // namespace

void PortPlans::adopt(AppId app, const config::AppConfig* before, const config::AppConfig* after) {
  if (before != nullptr) {
    visit_ports(*before, [&](const config::Port& port) {
      if (port.start != port.end) return;
      const auto found = single_.find(port.start);
      found->second.remove(kind_of(port), app);
      if (found->second.http() + found->second.others() == 0) single_.erase(found);
    });
    std::erase_if(ranges_, [app](const Range& range) { return range.app == app; });
  }
  if (after == nullptr) return;
  visit_ports(*after, [&](const config::Port& port) {
    if (port.start == port.end) {
      single_[port.start].add(kind_of(port), app);
    } else {
      ranges_.push_back({port.start, port.end, kind_of(port), app});
    }
  });
}

PortPlan PortPlans::at(std::uint16_t port) const {
  PortPlan plan;
  if (const auto found = single_.find(port); found != single_.end()) plan = found->second;
  for (const Range& range : ranges_) {
    if (range.start <= port && port <= range.end) plan.add(range.kind, range.app);
  }
  return plan;
}

}  // namespace rooster::proxy
