// [rooster]: what fly.toml can't say. Strict: whatever is wrong or unknown here is an error.
#include "config/app_reader.hpp"
#include "config/hostname.hpp"
#include "config/scalars.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

namespace rooster::config {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMostMachines = 1000;  // of one app in one region
constexpr std::size_t kMostRules = 256;      // each is tried for each wake

/// As the registry takes them; unlike a label it may end with a dash.
bool is_network_name(std::string_view name) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  return !name.empty() && name.size() <= 63 && is_letter(name.front()) &&
         std::ranges::all_of(name, [&is_letter](char c) {
           return is_letter(c) || (c >= '0' && c <= '9') || c == '-';
         });
}

void read_driver(TableReader& reader, RoosterTable& to) {
  static constexpr std::array<std::pair<std::string_view, DriverKind>, 4> kDrivers{{
      {"process", DriverKind::Process},
      {"docker", DriverKind::Docker},
      {"machines-api", DriverKind::MachinesApi},
      {"address", DriverKind::Address},
  }};
  std::string name;
  const Member* const member = reader.find("driver");
  reader.read("driver", name);
  reader.read("address", to.address);
  const Member* const address = reader.find("address");
  if (member != nullptr && member->value.is(Node::Kind::String)) {
    const auto* const found =
        std::ranges::find(kDrivers, name, [](const auto& one) { return one.first; });
    if (found == kDrivers.end()) {
      reader.report().error(member->value.place, reader.path("driver"),
                            fmt::format("\"{}\" is no driver; write \"process\", \"docker\", "
                                        "\"machines-api\" or \"address\"",
                                        name));
    } else {
      to.driver = found->second;
    }
  }
  if (to.driver == DriverKind::Address && to.address.empty()) {
    reader.report().error(member->value.place, reader.path("driver"),
                          "no address to go with it; write address = \"10.0.0.5\"");
  }
  if (to.address.empty()) return;
  const auto key = to_pattern_key(to.address);
  if (!key || key->starts_with('*')) {
    reader.report().error(
        address->value.place, reader.path("address"),
        fmt::format("\"{}\" is neither a host name nor an address; write one without "
                    "a port, the service's internal_port is used",
                    to.address));
  }
}

void read_hostnames(TableReader& reader, RoosterTable& to, NamePlaces& places) {
  const Member* const member = reader.find("hostnames");
  std::vector<std::string> written;
  if (!reader.read_texts("hostnames", written)) return;
  std::set<std::string> seen;
  for (std::size_t i = 0; i < member->value.items.size(); ++i) {
    const Node& item = member->value.items[i];
    if (!item.is(Node::Kind::String)) continue;
    const std::string path = reader.item_path("hostnames", i);
    const auto key = to_pattern_key(item.text);
    if (!key) {
      reader.report().error(item.place, path,
                            fmt::format("\"{}\" is not a host name; write \"example.com\" or "
                                        "\"*.example.com\" (other alphabets as xn--…)",
                                        item.text));
    } else if (!seen.insert(*key).second) {
      reader.report().error(item.place, path,
                            fmt::format("\"{}\" is given twice; keep one of the two", *key));
    } else {
      to.hostnames.push_back(*key);
      places.hostnames.push_back(item.place);
    }
  }
}

void read_counts(TableReader& reader, std::string_view key,
                 std::map<std::string, std::uint32_t>& to) {
  const Node* const table = reader.table(key);
  if (table == nullptr) return;
  TableReader inner(*table, reader.path(key), reader.report(), Severity::Error);
  for (const auto& [region, place, value] : table->members) {
    if (!is_region(region)) {
      reader.report().error(
          place, inner.path(region),
          fmt::format("\"{}\" is not a region; write its short name such as gru = 2", region));
      inner.accept({region});
      continue;
    }
    std::uint32_t count = 0;
    inner.read_number(region, count, 0, kMostMachines);
    to[region] = count;
  }
}

void check_ranges(TableReader& reader, std::string_view key,
                  const std::vector<std::string>& ranges) {
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    if (is_range(ranges[i])) continue;
    reader.report().error(
        reader.find(key)->value.place, reader.item_path(key, i),
        fmt::format("\"{}\" is not an address range; write one such as \"10.0.0.0/8\"", ranges[i]));
  }
}

void read_wake(TableReader& reader, WakePolicy& wake) {
  const Node* const table = reader.table("wake");
  if (table == nullptr) return;
  TableReader inner(*table, reader.path("wake"), reader.report(), Severity::Error);
  for (const auto& [key, to] :
       {std::pair{"allow_paths", &wake.allow_paths}, std::pair{"deny_paths", &wake.deny_paths},
        std::pair{"allow_methods", &wake.allow_methods},
        std::pair{"deny_user_agents", &wake.deny_user_agents},
        std::pair{"allow_ranges", &wake.allow_ranges},
        std::pair{"deny_ranges", &wake.deny_ranges}}) {
    if (!inner.read_texts(key, *to)) continue;
    if (to->size() > kMostRules) {
      inner.report().error(inner.find(key)->value.place, inner.path(key),
                           fmt::format("more than {} rules; join them by *", kMostRules));
    }
  }
  for (const auto& [key, paths] :
       {std::pair{"allow_paths", &wake.allow_paths}, std::pair{"deny_paths", &wake.deny_paths}}) {
    for (std::size_t i = 0; i < paths->size(); ++i) {
      if ((*paths)[i].starts_with('/') || (*paths)[i].starts_with('*')) continue;
      inner.report().error(
          inner.find(key)->value.place, inner.item_path(key, i),
          fmt::format("\"{0}\" can't match any path; write \"/{0}\"", (*paths)[i]));
    }
  }
  for (auto& method : wake.allow_methods) {
    for (auto& c : method) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  }
  check_ranges(inner, "allow_ranges", wake.allow_ranges);
  check_ranges(inner, "deny_ranges", wake.deny_ranges);
  inner.read("sni_prewake", wake.sni_prewake);
  if (wake.sni_prewake && wake.has_request_rule()) {
    inner.report().error(
        inner.find("sni_prewake")->value.place, inner.path("sni_prewake"),
        "a name alone can't satisfy rules about paths, methods or user agents; write false");
  }
  inner.finish();
}

void read_affinity(TableReader& reader, Affinity& affinity) {
  const Node* const table = reader.table("affinity");
  if (table == nullptr) return;
  TableReader inner(*table, reader.path("affinity"), reader.report(), Severity::Error);
  std::string header;
  inner.read("cookie", affinity.name);
  inner.read("header", header);
  affinity.kind = header.empty() ? Affinity::Kind::Cookie : Affinity::Kind::Header;
  const bool is_one = affinity.name.empty() != header.empty();
  if (!header.empty()) affinity.name = header;
  // Letters, digits and dashes are a name everywhere, in a cookie and in a field.
  const bool is_name = std::ranges::all_of(affinity.name, [](char c) {
    const char lower = static_cast<char>(c | 0x20);
    return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
  if (!is_one || !is_name || affinity.name.size() > 64) {
    inner.report().error(table->place, reader.path("affinity"),
                         "one name of letters, digits and dashes is needed; write "
                         "{ cookie = \"machine\" } or { header = \"X-Room\" }");
  }
  inner.finish();
}

}  // namespace

void read_rooster_table(TableReader& top, AppConfig& app, NamePlaces& places) {
  RoosterTable& to = app.rooster;
  to.directory = beside(app.file, ".");
  const Node* const table = top.table("rooster");
  if (table != nullptr) {
    TableReader reader(*table, "rooster", top.report(), Severity::Error);
    read_driver(reader, to);
    std::string directory = ".";
    reader.read("directory", directory);
    to.directory = beside(app.file, directory);
    reader.read("user", to.user);
    read_hostnames(reader, to, places);
    read_counts(reader, "machines", to.machines);
    read_counts(reader, "min_machines", to.min_machines);
    read_counts(reader, "max_machines", to.max_machines);
    reader.read("network", to.network);
    if (!is_network_name(to.network)) {
      reader.report().error(
          reader.find("network")->value.place, reader.path("network"),
          "a network's name is a letter and then letters, digits and dashes, 63 at most; write "
          "network = \"default\"");
    }
    reader.read("public", to.is_public);
    reader.read_duration("idle_timeout", to.idle_timeout, {.least = 1s});
    reader.read_duration("wake_timeout", to.wake_timeout, {.least = 100ms, .most = 1h});
    std::chrono::milliseconds tunnel_idle{};
    if (reader.read_duration("tunnel_idle", tunnel_idle, {.least = 1s}))
      to.tunnel_idle = tunnel_idle;
    reader.read("half_close", to.half_close);
    reader.read("notify", to.notify);
    read_affinity(reader, to.affinity);
    read_wake(reader, to.wake);
    reader.finish();
  }
  if (to.machines.empty()) to.machines[app.primary_region] = 1;
}

}  // namespace rooster::config
