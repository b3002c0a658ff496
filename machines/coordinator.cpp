// Coordinator, first part: identity, phases, facts, time. See coordinator_config.cpp (what there
// is), coordinator_wake.cpp (starting) and coordinator_stop.cpp (stopping).
#include "machines/coordinator.hpp"

#include "machines/coordinator_state.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

namespace rooster::machines {

namespace {
constexpr Duration kReapEvery = std::chrono::milliseconds(250);
constexpr Duration kDrainPoll = std::chrono::milliseconds(10);
constexpr Duration kKillAgain = std::chrono::seconds(5);
}  // namespace

std::string_view to_string(MachineState state) {
  switch (state) {  // Fly's words
    case MachineState::Stopped:
      return "stopped";
    case MachineState::Starting:
      return "starting";
    case MachineState::Ready:
      return "started";
    case MachineState::Draining:
      return "stopping";
    case MachineState::Stopping:
      return "stopping";
    case MachineState::Suspending:
      return "suspending";
    case MachineState::Suspended:
      return "suspended";
  }
  std::unreachable();
}

std::string fly_duration(Duration duration) {
  const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count();
  std::array<char, 64> text{};
  if (ns < 1'000'000'000) {
    std::snprintf(text.data(), text.size(), "%.6gms", static_cast<double>(ns) / 1e6);
  } else if (ns < 60'000'000'000) {
    std::snprintf(text.data(), text.size(), "%.6gs", static_cast<double>(ns) / 1e9);
  } else {
    const auto seconds = ns / 1'000'000'000;
    std::snprintf(text.data(), text.size(), "%lldm%llds", static_cast<long long>(seconds / 60),
                  static_cast<long long>(seconds % 60));
  }
  return text.data();
}

std::vector<const config::Check*> checks_of(const config::AppConfig& config,
                                            std::string_view group) {
  std::vector<const config::Check*> checks;
  for (const config::Service* service : services_of(config, group)) {
    for (const config::Check& check : service->checks) checks.push_back(&check);
  }
  return checks;
}

Coordinator::Coordinator(CoordinatorOptions options)
    : options_(std::move(options)), is_adopting_(options_.awaits_adoption) {}
Coordinator::~Coordinator() = default;

std::optional<Coordinator::Place> Coordinator::place(const MachineId& machine) {
  auto found = machines_.find(machine);
  if (found == machines_.end()) return std::nullopt;
  return found->second;
}

void Coordinator::set_state(const Place& place, MachineState state) {
  Machine& machine = *place.machine;
  machine.state = state;
  machine.changed_at = std::chrono::system_clock::now();
  if (machine.runs()) {
    awake_.insert(machine.id);
  } else {
    awake_.erase(machine.id);
    machine.timeline.reset();
    machine.pid = state == MachineState::Suspended ? machine.pid : 0;
    machine.wake_deadline = machine.kill_at = kNever;
    if (state == MachineState::Stopped) {
      std::erase_if(taken_ports_, [&](const auto& taken) { return taken.second == machine.id; });
    }
  }
  touch(*place.app);
}

void Coordinator::touch(App& app) {
  dirty_.insert(app.id);
}

void Coordinator::refresh_phase(App& app, Pool& pool, TimePoint now) {
  WakePhase phase = WakePhase::Asleep;
  if (pool.routable() != nullptr) {
    phase = WakePhase::Ready;
  } else if (pool.in_state(MachineState::Starting) != nullptr || pool.is_resolving) {
    phase = WakePhase::Waking;
  } else if (pool.fault != Fault::None) {
    phase = WakePhase::Failed;
  } else if (pool.find_machine(
                 [](const Machine& m) { return m.runs() && m.state != MachineState::Ready; })) {
    phase = WakePhase::Stopping;
  }
  if (phase == WakePhase::Ready && pool.phase != WakePhase::Ready) pool.ready_since = now;
  if (phase != WakePhase::Ready) pool.ready_since = kNever;
  if (phase == pool.phase) return;
  pool.phase = phase;
  if (phase != WakePhase::Ready && phase != WakePhase::Waking) ++pool.generation;
  touch(app);
}

void Coordinator::flush(TimePoint now, Output& out) {
  for (AppId id : std::exchange(dirty_, {})) {
    auto found = apps_.find(id);
    if (found == apps_.end()) continue;
    App& app = *found->second;
    for (const auto& pool : app.pools) refresh_phase(app, *pool, now);
    out.facts.push_back(make_view(app));
  }
  dirty_.clear();
}

AppViewPtr Coordinator::make_view(App& app) {
  auto view = std::make_shared<AppView>();
  view->id = app.id;
  view->config = app.config;
  view->waiting = app.waiting;
  view->epoch = ++epoch_;
  view->removed = app.is_removed;
  view->network = app.place.network;
  view->flycast = app.place.flycast;
  for (const auto& pool : app.pools) {
    WakeState wake{.group = pool->group,
                   .generation = pool->generation,
                   .phase = pool->phase,
                   .fault = pool->fault,
                   .detail = pool->detail,
                   .retry_at = pool->retry_at,
                   .autostart = pool->autostart && !is_stopping_};
    const bool has_other =
        pool->find_machine([](const Machine& m) { return m.can_start(); }) != nullptr;
    for (const auto& machine : pool->machines) {
      if (machine->state == MachineState::Draining && machine->drain_epoch == UINT64_MAX) {
        machine->drain_epoch = epoch_;
      }
      if (pool->phase == WakePhase::Stopping && !has_other &&
          machine->state == MachineState::Stopping) {
        wake.stop_ends_at = std::max(wake.stop_ends_at, machine->kill_at);
      }
      view->machines.push_back({.id = machine->id,
                                .region = machine->region,
                                .group = pool->group,
                                .address = machine->address,
                                .private_address = machine->private_address,
                                .private_v4 = machine->private_v4,
                                .netns = machine->has_namespaces,
                                .ports = machine->ports,
                                .load = machine->load,
                                .load_generation = machine->load_generation,
                                .routable = machine->is_routable() && !app.is_removed,
                                .checks_passing = machine->checks_pass(),
                                .cordoned = machine->is_cordoned,
                                .awake = machine->runs(),
                                .timeline = machine->timeline,
                                .fault = machine->last_error});
    }
    if (!pool->is_gone) view->wakes.push_back(std::move(wake));
  }
  app.view = view;
  return view;
}

void Coordinator::line(const Place& place, std::string_view provider, MachineLine::Level level,
                       std::string message, Output& out) const {
  out.lines.push_back({.app = place.app->id,
                       .machine = place.machine ? place.machine->id : MachineId{},
                       .region = place.machine ? place.machine->region : place.app->home_region,
                       .provider = provider,
                       .level = level,
                       .message = std::move(message)});
}

void Coordinator::record(const App& app, const Machine* machine, LedgerEntry::Kind kind,
                         std::string source, std::string reason, Fault fault) {
  ledger_.add({.kind = kind,
               .at = std::chrono::system_clock::now(),
               .app = app.id,
               .app_name = app.config->name,
               .machine = machine ? machine->id.value : std::string(),
               .source = std::move(source),
               .reason = std::move(reason),
               .fault = fault});
}

AppViewPtr Coordinator::view(AppId app) const {
  auto found = apps_.find(app);
  return found != apps_.end() ? found->second->view : nullptr;
}

std::vector<AppId> Coordinator::apps() const {
  std::vector<AppId> ids;
  ids.reserve(apps_.size());
  for (const auto& entry : apps_) ids.push_back(entry.first);
  return ids;
}

const Machine* Coordinator::find(const MachineId& machine) const {
  auto found = machines_.find(machine);
  return found != machines_.end() ? found->second.machine : nullptr;
}

std::optional<AppId> Coordinator::app_of(const MachineId& machine) const {
  auto found = machines_.find(machine);
  if (found == machines_.end()) return std::nullopt;
  return found->second.app->id;
}

void Coordinator::epoch_adopted(std::uint64_t epoch, TimePoint now, Output& out) {
  adopted_epoch_ = std::max(adopted_epoch_, epoch);
  const std::set<MachineId> awake = awake_;
  for (const MachineId& id : awake) {
    if (auto place = this->place(id)) advance_drain(*place, now, out);
  }
  flush(now, out);
}

void Coordinator::tick(TimePoint now, Output& out) {
  std::set<std::pair<AppId, std::string>> pools;
  const std::set<MachineId> awake = awake_;
  for (const MachineId& id : awake) {
    auto place = this->place(id);
    if (!place) continue;
    Machine& machine = *place->machine;
    pools.emplace(place->app->id, place->pool->group);
    if (machine.state == MachineState::Starting && machine.wake_deadline <= now) {
      expire_wake(*place, now, out);
    } else if (machine.state == MachineState::Draining) {
      advance_drain(*place, now, out);
    } else if (machine.state == MachineState::Stopping && machine.kill_at <= now) {
      machine.kill_at = now + kKillAgain;
      if (!std::exchange(machine.is_killed, true)) ++counters_.kills;
      out.commands.emplace_back(KillMachine{.machine = id});
      line(*place, "runner", MachineLine::Level::Warn, "Killed after kill_timeout", out);
    }
  }
  const bool reaps = now >= next_reap_;
  if (reaps) next_reap_ = now + kReapEvery;
  for (const auto& key : std::exchange(waiting_pools_, {})) pools.insert(key);
  for (const auto& [id, group] : pools) {
    auto found = apps_.find(id);
    if (found == apps_.end()) continue;
    for (const auto& pool : found->second->pools) {
      if (pool->group == group) tend(*found->second, *pool, reaps, now, out);
    }
  }
  flush(now, out);
}

void Coordinator::tend(App& app, Pool& pool, bool reaps, TimePoint now, Output& out) {
  refresh_phase(app, pool, now);
  if (pool.ready_since != kNever && now - pool.ready_since >= kSteadyAfter) pool.failures.steady();
  if (pool.is_wanted) want(app, pool, now, out);
  keep_minimum(app, pool, now, out);
  if (!reaps) return;
  replace_stale(app, pool, now, out);
  reap(app, pool, now, out);
  scale_up(app, pool, now, out);
}

TimePoint Coordinator::next_tick(TimePoint now) const {
  TimePoint next = kNever;
  for (const MachineId& id : awake_) {
    const Machine& machine = *machines_.at(id).machine;
    switch (machine.state) {
      case MachineState::Starting:
        next = std::min(next, machine.wake_deadline);
        break;
      case MachineState::Draining:
        next = std::min(next, now + kDrainPoll);
        break;
      case MachineState::Stopping:
        next = std::min(next, machine.kill_at);
        break;
      default:
        break;
    }
    if (machine.state == MachineState::Ready) next = std::min(next, std::max(now, next_reap_));
  }
  for (const auto& [id, group] : waiting_pools_) {
    auto found = apps_.find(id);
    if (found == apps_.end()) continue;
    for (const auto& pool : found->second->pools) {
      if (pool->group == group && pool->retry_at != kNever) {
        next = std::min(next, std::max({now, pool->retry_at, pool->minimum_after}));
      }
    }
  }
  return next;
}

}  // namespace rooster::machines
