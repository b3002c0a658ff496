// What a reload means for each app. Pure.
#include "config/config_set.hpp"

#include <tuple>

namespace rooster::config {
namespace {

/// What a running machine was made from: its command line, environment, place and identity.
auto made_from(const AppConfig& app) {
  const RoosterTable& own = app.rooster;
  return std::tie(app.processes, app.env, app.image, app.primary_region, own.address, own.directory,
                  own.user, own.network, own.notify);
}

/// PORT in its environment, and where it is asked whether it is ready.
bool same_internal_ports(const AppConfig& before, const AppConfig& after) {
  if (before.services.size() != after.services.size()) return false;
  for (std::size_t i = 0; i < before.services.size(); ++i) {
    const Service& a = before.services[i];
    const Service& b = after.services[i];
    if (a.internal_port != b.internal_port || a.processes != b.processes) return false;
  }
  return true;
}

}  // namespace

bool needs_replacement(const AppConfig& before, const AppConfig& after) {
  return made_from(before) != made_from(after) || before.driver() != after.driver() ||
         !same_internal_ports(before, after);
}

std::vector<Change> changes(const ConfigSet& before, const ConfigSet& after) {
  std::vector<Change> found;
  auto old_one = before.apps.begin();
  auto new_one = after.apps.begin();
  while (old_one != before.apps.end() || new_one != after.apps.end()) {
    const bool no_old = old_one == before.apps.end();
    const bool no_new = new_one == after.apps.end();
    if (!no_old && !no_new && *old_one == *new_one) {
      ++old_one;
      ++new_one;
    } else if (no_old || (!no_new && (*new_one)->name < (*old_one)->name)) {
      found.push_back({ChangeKind::Added, nullptr, *new_one++});
    } else if (no_new || (*old_one)->name < (*new_one)->name) {
      found.push_back({ChangeKind::Removed, *old_one++, nullptr});
    } else {
      const auto kind =
          needs_replacement(**old_one, **new_one) ? ChangeKind::Replace : ChangeKind::Settings;
      if (**old_one != **new_one) found.push_back({kind, *old_one, *new_one});
      ++old_one;
      ++new_one;
    }
  }
  return found;
}

}  // namespace rooster::config
