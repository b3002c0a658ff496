#include "proxy/private_table.hpp"

#include "core/private_address.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace rooster::proxy {

namespace {

constexpr std::uint16_t kDnsPort = 53;
constexpr std::uint16_t kApiPort = 4280;
constexpr std::size_t kMaxNameBytes = 253;

bool is_set(const IpAddress& address) {
  return address != IpAddress();
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

bool equal_names(std::string_view a, std::string_view b) {
  return a.size() == b.size() && lower(a) == lower(b);
}

PrivateTarget refused(Fault fault) {
  return {.kind = PrivateTarget::Kind::Refused, .fault = fault};
}

// "fra.db" -> {"fra", "db"}: the last label and what stands before it.
std::pair<std::string_view, std::string_view> split_last(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return {{}, name};
  return {name.substr(0, dot), name.substr(dot + 1)};
}

bool take_suffix(std::string_view& name, std::string_view suffix) {
  if (!name.ends_with(suffix)) return false;
  name.remove_suffix(suffix.size());
  return true;
}

// "nearest.of" and "top3.nearest.of": what they choose among is all of the app.
bool is_nearest(std::string_view words) {
  if (words == "nearest.of") return true;
  if (!words.starts_with("top") || !words.ends_with(".nearest.of")) return false;
  const std::string_view count = words.substr(3, words.size() - 3 - 11);
  return !count.empty() && std::ranges::all_of(count, [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::size_t PrivateTable::Hash::operator()(const IpAddress& address) const {
  std::uint64_t parts[2];
  std::memcpy(parts, address.bytes().data(), sizeof parts);
  // Keys differ in few bytes: mixed as splitmix64 does.
  std::uint64_t mixed = parts[0] * 0x9E3779B97F4A7C15ull ^ parts[1];
  mixed = (mixed ^ (mixed >> 30U)) * 0xBF58476D1CE4E5B9ull;
  return mixed ^ (mixed >> 27U);
}

PrivateTable::App PrivateTable::read(const machines::AppView& view) {
  App app{.network = view.network,
          .name = view.config ? lower(view.config->name) : std::string(),
          .flycast = view.flycast,
          .machines = {},
          .keys = {}};
  for (const machines::MachineView& machine : view.machines) {
    const auto add = [&](const IpAddress& key) {
      app.machines.push_back({.app = view.id, .id = machine.id});
      app.keys.push_back(key);
    };
    if (is_set(machine.private_address)) {
      add(prefix_of(machine.private_address, kMachinePrefixBits));
    }
    if (is_set(machine.private_v4)) add(machine.private_v4);
  }
  return app;
}

void PrivateTable::forget(AppId id) {
  const auto found = apps_.find(id);
  if (found == apps_.end()) return;
  const App& app = found->second;
  const auto drop = [id](auto& map, const auto& key, auto app_of) {
    // The key may be another app's by now.
    if (const auto entry = map.find(key); entry != map.end() && app_of(entry->second) == id) {
      map.erase(entry);
    }
  };
  const auto itself = [](AppId owner) { return owner; };
  drop(names_, app.name, itself);
  drop(flycasts_, app.flycast, itself);
  for (const IpAddress& key : app.keys) {
    drop(machines_, key, [](const MachineEntry& entry) { return entry.app; });
  }
  apps_.erase(found);
}

void PrivateTable::adopt(const machines::AppViewPtr& view) {
  if (view->removed) return forget(view->id);
  App app = read(*view);
  if (const auto before = apps_.find(view->id); before != apps_.end()) {
    const App& old = before->second;
    const auto same_id = [](const MachineEntry& a, const MachineEntry& b) { return a.id == b.id; };
    if (old.network == app.network && old.name == app.name && old.flycast == app.flycast &&
        old.keys == app.keys && std::ranges::equal(old.machines, app.machines, same_id)) {
      return;
    }
    forget(view->id);
  }
  names_[app.name] = view->id;
  if (is_set(app.flycast)) flycasts_[app.flycast] = view->id;
  for (std::size_t i = 0; i < app.keys.size(); ++i) machines_[app.keys[i]] = app.machines[i];
  apps_.emplace(view->id, std::move(app));
}

void PrivateTable::adopt(const PeerFactPtr& fact) {
  const IpAddress key = prefix_of(fact->address, kPeerPrefixBits);
  if (fact->removed) {
    peers_.erase(key);
  } else {
    peers_[key] = fact;
  }
}

std::optional<PrivateSource> PrivateTable::source(const IpAddress& address) const {
  if (const auto peer = peers_.find(prefix_of(address, kPeerPrefixBits)); peer != peers_.end()) {
    return PrivateSource{.who = PrivateSource::Who::Peer,
                         .network = peer->second->network,
                         .address = address,
                         .name = peer->second->name,
                         .peer = peer->second};
  }
  const IpAddress key = address.is_v4() ? address : prefix_of(address, kMachinePrefixBits);
  const auto machine = machines_.find(key);
  if (machine == machines_.end()) return std::nullopt;
  return PrivateSource{.who = PrivateSource::Who::Machine,
                       .network = apps_.at(machine->second.app).network,
                       .address = address,
                       .app = machine->second.app,
                       .name = machine->second.id.value};
}

// Isolation: the other's network decides, then the apps that a peer's token names.
PrivateTarget PrivateTable::allowed(const PrivateSource& source, AppId id,
                                    PrivateTarget target) const {
  const App& app = apps_.at(id);
  if (source.who == PrivateSource::Who::Operator) return target;
  // As if it did not exist: nobody learns what other networks hold.
  if (app.network != source.network) return refused(Fault::NoRoute);
  if (!source.peer) return target;
  const auto& named = source.peer->apps;
  const bool is_named = named.empty() || std::ranges::any_of(named, [&](const std::string& name) {
                          return equal_names(name, app.name);
                        });
  if (!source.peer->may_connect || !is_named) return refused(Fault::NotAllowed);
  return target;
}

PrivateTarget PrivateTable::destination(const PrivateSource& source, const Endpoint& to) const {
  using Kind = PrivateTarget::Kind;
  if (!is_private(to.address)) {
    // Peers keep their own way out; only machines have none but ours.
    if (source.who != PrivateSource::Who::Machine) return refused(Fault::NoRoute);
    return {.kind = Kind::Egress, .fault = Fault::None, .port = to.port};
  }
  if (to.address == infra_address(source.network) || to.address == machine_dns_address()) {
    const bool is_api = to.port == kApiPort && to.address != machine_dns_address();
    if (is_api) return {.kind = Kind::Api, .fault = Fault::None, .port = to.port};
    if (to.port != kDnsPort) return refused(Fault::NoRoute);
    return {.kind = Kind::Dns, .fault = Fault::None, .port = to.port};
  }
  if (const auto flycast = flycasts_.find(to.address); flycast != flycasts_.end()) {
    return allowed(
        source, flycast->second,
        {.kind = Kind::Service, .fault = Fault::None, .app = flycast->second, .port = to.port});
  }
  const auto machine = machines_.find(prefix_of(to.address, kMachinePrefixBits));
  if (machine == machines_.end()) return refused(Fault::NoRoute);
  return allowed(source, machine->second.app,
                 {.kind = Kind::Machines,
                  .fault = Fault::None,
                  .app = machine->second.app,
                  .port = to.port,
                  .machine = machine->second.id.value});
}

std::optional<AppId> PrivateTable::find_app(std::string_view name) const {
  const auto found = names_.find(std::string(name));
  return found == names_.end() ? std::nullopt : std::optional(found->second);
}

PrivateTarget PrivateTable::internal_name(const PrivateSource& source, std::string_view name,
                                          std::uint16_t port) const {
  const auto [words, label] = split_last(name);
  const auto app = find_app(label);
  if (!app) return refused(Fault::NoRoute);
  PrivateTarget target{
      .kind = PrivateTarget::Kind::Machines, .fault = Fault::None, .app = *app, .port = port};
  std::string_view chosen = words;
  if (words.empty() || words == "global" || is_nearest(words)) {
    // any of them
  } else if (take_suffix(chosen, ".vm")) {
    target.machine = chosen;
  } else if (take_suffix(chosen, ".process")) {
    target.group = chosen;
  } else {
    target.region = chosen;
  }
  if (chosen.empty() != words.empty() || target.machine.contains('.') ||
      target.group.contains('.') || target.region.contains('.')) {
    return refused(Fault::NoRoute);
  }
  return allowed(source, *app, std::move(target));
}

PrivateTarget PrivateTable::find(const PrivateSource& source, std::string_view name,
                                 std::uint16_t port) const {
  if (name.size() > kMaxNameBytes) return refused(Fault::BadHost);
  if (const auto address = IpAddress::parse(name)) {
    return destination(source, {.address = *address, .port = port});
  }
  const std::string text = lower(name.ends_with('.') ? name.substr(0, name.size() - 1) : name);
  if (text.starts_with('.') || text.contains("..")) return refused(Fault::NoRoute);
  if (text == "_api.internal") {
    // Each network has its own.
    if (source.who == PrivateSource::Who::Operator) return refused(Fault::NoRoute);
    return destination(source, {.address = infra_address(source.network), .port = port});
  }
  std::string_view rest = text;
  if (take_suffix(rest, ".flycast")) {
    const auto app = find_app(rest);
    if (!app) return refused(Fault::NoRoute);
    return allowed(
        source, *app,
        {.kind = PrivateTarget::Kind::Service, .fault = Fault::None, .app = *app, .port = port});
  }
  const bool is_internal = take_suffix(rest, ".internal");
  if (!is_internal && source.who != PrivateSource::Who::Operator) return refused(Fault::NoRoute);
  return internal_name(source, rest, port);
}

}  // namespace rooster::proxy
