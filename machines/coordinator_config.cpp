// Coordinator, second part: which machines there are, as the configuration says; and the operator's
// levers.
#include "machines/coordinator.hpp"
#include "machines/coordinator_state.hpp"
#include "machines/machine_id.hpp"

#include <algorithm>
#include <utility>

namespace rooster::machines {

std::size_t Coordinator::App::minimum(const Pool& pool, const std::string& region) const {
  if (pool.is_gone || is_removed) return 0;
  if (pool.is_always_on) return SIZE_MAX;
  if (auto found = config->rooster.min_machines.find(region);
      found != config->rooster.min_machines.end()) {
    return found->second;
  }
  std::size_t minimum = 0;
  if (region != home_region) return minimum;
  for (const config::Service* service : services_of(*config, pool.group)) {
    minimum = std::max<std::size_t>(minimum, service->min_machines_running);
  }
  return minimum;
}

std::size_t Coordinator::App::maximum(const std::string& region) const {
  auto found = config->rooster.max_machines.find(region);
  return found != config->rooster.max_machines.end() ? found->second : SIZE_MAX;
}

void Coordinator::configure(AppId id, std::shared_ptr<const config::AppConfig> config,
                            TimePoint now, Output& out) {
  std::unique_ptr<App>& app = apps_[id];
  if (!app) {
    app = std::make_unique<App>();
    app->id = id;
  }
  if (app->config == config && !app->is_removed) return;
  app->config = std::move(config);
  app->is_removed = false;
  app->home_region =
      app->config->primary_region.empty() ? options_.region : app->config->primary_region;
  app->place = options_.places.of_app ? options_.places.of_app(*app->config) : AppPlace{};
  lay_out(*app, now, out);
  touch(*app);
  flush(now, out);
}

void Coordinator::lay_out(App& app, TimePoint now, Output& out) {
  for (const auto& pool : app.pools) {
    pool->is_gone = std::ranges::find(app.config->processes, pool->group,
                                      &config::Process::group) == app.config->processes.end();
  }
  for (const config::Process& process : app.config->processes) {
    auto found = std::ranges::find(app.pools, process.group, &Pool::group);
    if (found == app.pools.end()) {
      app.pools.push_back(std::make_unique<Pool>());
      app.pools.back()->group = process.group;
    }
  }
  // The view's wakes stand in the config's order: group 0 is the default one.
  std::ranges::sort(app.pools, {}, [&](const auto& pool) {
    return std::ranges::find(app.config->processes, pool->group, &config::Process::group) -
           app.config->processes.begin();
  });
  for (const auto& pool : app.pools) lay_out_pool(app, *pool, now, out);
}

void Coordinator::lay_out_pool(App& app, Pool& pool, TimePoint now, Output& out) {
  const config::AppConfig& config = *app.config;
  const auto services = services_of(config, pool.group);
  const config::DriverKind driver = config.driver();
  const std::string fingerprint = start_fingerprint(config, pool.group);
  if (fingerprint != std::exchange(pool.fingerprint, fingerprint)) {
    pool.failures.forget();
    pool.fault = Fault::None;
    pool.retry_at = {};
    // The lookup under way is of the old address: who waits for it asks anew.
    if (std::exchange(pool.is_resolving, false)) {
      pool.is_wanted = true;
      waiting_pools_.emplace(app.id, pool.group);
    }
  }
  pool.concurrency = services.empty() ? config::Concurrency{} : services.front()->concurrency;
  pool.autostart = services.empty() || std::ranges::any_of(services, &config::Service::autostart);
  pool.autostop = config::Autostop::Suspend;
  for (const config::Service* service : services)
    pool.autostop = std::min(pool.autostop, service->autostop);
  if (std::ranges::any_of(services,
                          [](const auto* s) { return s->autostop == config::Autostop::Stop; }) &&
      pool.autostop == config::Autostop::Suspend) {
    pool.autostop = config::Autostop::Stop;
  }
  if (services.empty() || driver == config::DriverKind::Address)
    pool.autostop = config::Autostop::Off;
  pool.is_always_on =
      driver == config::DriverKind::Process &&
      (services.empty() || (!pool.autostart && pool.autostop == config::Autostop::Off));
  pool.first_port = readiness_port(config, pool.group);
  pool.check_count = checks_of(config, pool.group).size();

  std::set<MachineId> kept;
  if (!pool.is_gone && driver == config::DriverKind::Process) {
    auto counts = config.rooster.machines;
    if (counts.empty()) counts[app.home_region] = 1;
    for (const auto& [region, count] : counts) {
      for (std::uint32_t index = 0; index < count; ++index) {
        MachineId id = make_machine_id(config.name, pool.group, region, std::to_string(index));
        kept.insert(id);
        Machine& machine = add_machine(app, pool, id, region, index);
        machine.is_surplus = false;
      }
    }
  } else if (!pool.is_gone && driver == config::DriverKind::Address) {
    lay_out_addresses(app, pool, kept, now, out);
  }
  std::vector<Place> surplus;
  for (const auto& machine : pool.machines) {
    set_limits(app, pool, *machine);
    // One that runs keeps its address until it is replaced: another network is another config.
    if (machine->can_start()) place_privately(app, *machine);
    if (!kept.contains(machine->id)) surplus.push_back({&app, &pool, machine.get()});
  }
  for (const Place& place : surplus) retire(place, now, out);

  const bool startable =
      driver == config::DriverKind::Process || driver == config::DriverKind::Address;
  if (startable && pool.fault == Fault::NotWakeable) {
    pool.fault = Fault::None;
    pool.retry_at = {};
  } else if (!startable) {
    pool.fault = Fault::NotWakeable;
    pool.detail = "no command, image or address that this node can start";
    pool.retry_at = kNever;
  }
  keep_minimum(app, pool, now, out);
}

// A literal address is a machine at once; a name becomes some when it is first wanted. Machines
// already there stay until the resolver says otherwise.
void Coordinator::lay_out_addresses(App& app, Pool& pool, std::set<MachineId>& kept, TimePoint now,
                                    Output& out) {
  if (const auto literal = IpAddress::parse(app.config->rooster.address)) {
    kept = take_addresses(app, pool, {*literal}, now, out);
    if (kept.empty()) pool.retry_at = kNever;  // it stays one of ours until the config changes
    return;
  }
  for (const auto& machine : pool.machines) {
    if (machine->fingerprint == pool.fingerprint) kept.insert(machine->id);
  }
}

std::set<MachineId> Coordinator::take_addresses(App& app, Pool& pool,
                                                const std::vector<IpAddress>& addresses,
                                                TimePoint now, Output& out) {
  std::set<MachineId> kept;
  std::uint32_t index = 0;
  for (const IpAddress& address : addresses) {
    if (is_circle(app, pool, address)) continue;
    MachineId id =
        make_machine_id(app.config->name, pool.group, app.home_region, address.to_string());
    kept.insert(id);
    Machine& machine = add_machine(app, pool, id, app.home_region, index++);
    machine.is_surplus = false;
    machine.address = address;
    machine.fingerprint = pool.fingerprint;
    if (machine.state == MachineState::Ready) continue;
    machine.load_generation = machine.load->reopen(options_.boot_ms());
    machine.checks.assign(pool.check_count, {.passing = true});
    set_state({&app, &pool, &machine}, MachineState::Ready);
    line({&app, &pool, &machine}, "proxy", MachineLine::Level::Info,
         "machine is at " + address.to_string(), out);
  }
  pool.is_resolving = false;
  if (kept.empty()) {
    fail_wake(app, pool, Fault::NoHealthyMachine,
              app.config->rooster.address + ":" +
                  std::to_string(services_of(*app.config, pool.group).front()->internal_port) +
                  " is a listener of this node: requests would go round in a circle; change "
                  "[rooster] address or internal_port",
              now, out);
    return kept;
  }
  pool.fault = Fault::None;
  pool.retry_at = {};
  return kept;
}

bool Coordinator::is_circle(const App& app, const Pool& pool, const IpAddress& address) const {
  if (!options_.is_own_listener) return false;
  return std::ranges::any_of(services_of(*app.config, pool.group), [&](const auto* service) {
    return options_.is_own_listener({address, service->internal_port});
  });
}

void Coordinator::resolved(AppId id, const std::vector<IpAddress>& addresses, TimePoint now,
                           Output& out) {
  auto found = apps_.find(id);
  if (found == apps_.end() || found->second->is_removed) return;
  App& app = *found->second;
  if (app.config->driver() != config::DriverKind::Address) return;
  for (const auto& pool : app.pools) {
    if (pool->is_gone) continue;
    if (addresses.empty()) {
      if (std::exchange(pool->is_resolving, false) && !pool->routable()) {
        fail_wake(app, *pool, Fault::UpstreamUnresolved,
                  app.config->rooster.address + " does not resolve", now, out);
      }
      continue;
    }
    const std::set<MachineId> kept = take_addresses(app, *pool, addresses, now, out);
    std::vector<Place> surplus;
    for (const auto& machine : pool->machines) {
      if (!kept.contains(machine->id)) surplus.push_back({&app, pool.get(), machine.get()});
    }
    for (const Place& place : surplus) retire(place, now, out);
  }
  touch(app);
  flush(now, out);
}

// Configured no longer: stopped as soon as it is free, then forgotten.
void Coordinator::retire(const Place& place, TimePoint now, Output& out) {
  Machine& machine = *place.machine;
  machine.is_surplus = true;
  switch (machine.state) {
    case MachineState::Stopped:
      return forget(*place.app, *place.pool, MachineId(machine.id));
    case MachineState::Suspended:
      return kill_suspended(place, now, out);
    case MachineState::Starting:
    case MachineState::Ready:
      return begin_drain(place, StopReason::Removed, false, now, out);
    case MachineState::Draining:
    case MachineState::Stopping:
    case MachineState::Suspending:
      return;
  }
}

Machine& Coordinator::add_machine(App& app, Pool& pool, MachineId id, const std::string& region,
                                  std::uint32_t index) {
  if (auto found = machines_.find(id); found != machines_.end()) return *found->second.machine;
  pool.machines.push_back(std::make_unique<Machine>());
  Machine& machine = *pool.machines.back();
  machine.id = id;
  machine.region = region;
  machine.index = index;
  machine.load = std::make_shared<MachineLoad>(app.id);
  place_privately(app, machine);
  machines_[id] = {&app, &pool, &machine};
  return machine;
}

void Coordinator::place_privately(const App& app, Machine& machine) const {
  const bool is_started_here = app.config->driver() == config::DriverKind::Process;
  const bool has_address = is_started_here && options_.places.of_machine != nullptr;
  machine.private_address =
      has_address ? options_.places.of_machine(app.place.network, machine.id) : IpAddress();
  machine.has_namespaces = has_address && app.place.has_namespaces;
}

void Coordinator::set_limits(App& app, Pool& pool, Machine& machine) {
  std::uint32_t cap = 0;
  for (const config::Service* service : services_of(*app.config, pool.group)) {
    cap = std::max(cap, connection_cap(service->concurrency));
  }
  machine.load->set_connection_cap(cap > 0 ? cap : connection_cap({}));
  // A check that a reload added counts once it has run.
  machine.checks.resize(pool.check_count, {.passing = machine.state == MachineState::Ready});
}

void Coordinator::keep_minimum(App& app, Pool& pool, TimePoint now, Output& out) {
  if (is_stopping_ || is_adopting_ || app.is_removed || pool.is_gone) return;
  if (pool.in_state(MachineState::Starting)) return;
  if (pool.retry_at == kNever) return;
  for (const auto& machine : pool.machines) {
    if (!machine->can_start() || machine->is_held) continue;
    if (pool.running_in(machine->region) >= app.minimum(pool, machine->region)) continue;
    if (std::max(pool.retry_at, pool.minimum_after) > now) {
      waiting_pools_.emplace(app.id, pool.group);
      return;
    }
    pool.waker = {.app = app.id,
                  .group = pool.group,
                  .asked_at = now,
                  .source = "rooster",
                  .reason = pool.is_always_on ? "always on" : "min_machines_running"};
    record(app, machine.get(), LedgerEntry::Kind::Wake, pool.waker.source, pool.waker.reason);
    begin_start(app, pool, *machine, now, out);
    return;  // one at a time
  }
}

void Coordinator::remove(AppId id, TimePoint now, Output& out) {
  auto found = apps_.find(id);
  if (found == apps_.end() || found->second->is_removed) return;
  App& app = *found->second;
  app.is_removed = true;
  touch(app);
  std::vector<Place> all;
  for (const auto& pool : app.pools) {
    pool->is_wanted = false;
    for (const auto& machine : pool->machines) all.push_back({&app, pool.get(), machine.get()});
  }
  for (const Place& place : all) retire(place, now, out);
  flush(now, out);
  forget_if_gone(id);
}

void Coordinator::forget(App& app, Pool& pool, const MachineId& machine) {
  machines_.erase(machine);
  awake_.erase(machine);
  std::erase_if(taken_ports_, [&](const auto& taken) { return taken.second == machine; });
  std::erase_if(pool.machines, [&](const auto& entry) { return entry->id == machine; });
  touch(app);
}

void Coordinator::forget_if_gone(AppId id) {
  auto found = apps_.find(id);
  if (found == apps_.end()) return;
  App& app = *found->second;
  std::erase_if(app.pools,
                [](const auto& pool) { return pool->is_gone && pool->machines.empty(); });
  const bool is_empty =
      std::ranges::all_of(app.pools, [](const auto& p) { return p->machines.empty(); });
  if (!app.is_removed || !is_empty) return;
  dirty_.erase(id);
  apps_.erase(found);
}

Result<> Coordinator::start(const MachineId& id, TimePoint now, Output& out) {
  auto place = this->place(id);
  if (!place || place->app->is_removed) return fail(Fault::NoRoute, "no machine " + id.value);
  if (is_stopping_) return fail(Fault::Draining, "the node is shutting down");
  Machine& machine = *place->machine;
  Pool& pool = *place->pool;
  machine.is_held = false;
  pool.failures.forget();
  if (pool.fault != Fault::NotWakeable) {
    pool.retry_at = {};
    pool.fault = Fault::None;
  }
  pool.waker = {.app = place->app->id,
                .group = pool.group,
                .asked_at = now,
                .source = "operator",
                .reason = "machine start"};
  switch (machine.state) {
    case MachineState::Stopped:
    case MachineState::Suspended:
      record(*place->app, &machine, LedgerEntry::Kind::Wake, "operator", "machine start");
      begin_start(*place->app, pool, machine, now, out);
      break;
    case MachineState::Draining:
      if (!cancel_drain(*place, now, out)) pool.is_wanted = true;
      break;
    case MachineState::Stopping:
    case MachineState::Suspending:
      pool.is_wanted = true;
      break;
    case MachineState::Starting:
    case MachineState::Ready:
      break;
  }
  touch(*place->app);
  flush(now, out);
  return {};
}

Result<> Coordinator::stop(const MachineId& id, bool suspend, TimePoint now, Output& out,
                           StopWish wish) {
  auto place = this->place(id);
  if (!place) return fail(Fault::NoRoute, "no machine " + id.value);
  if (place->app->config->driver() == config::DriverKind::Address) {
    return fail(Fault::NotWakeable, "an address can't be stopped; cordon it");
  }
  if (suspend && !options_.can_suspend) {
    return fail(Fault::StartFailed,
                "this host can't freeze machines (no writable cgroup2); use stop");
  }
  Machine& machine = *place->machine;
  machine.is_held = !suspend;
  if (wish.signal != 0) machine.kill_signal = wish.signal;
  if (wish.timeout) machine.kill_timeout = *wish.timeout;
  switch (machine.state) {
    case MachineState::Ready:
    case MachineState::Starting:
      begin_drain(*place, StopReason::Operator, suspend, now, out);
      break;
    case MachineState::Draining:
      machine.stop_reason = StopReason::Operator;
      break;
    case MachineState::Suspended:
      if (!suspend) kill_suspended(*place, now, out);
      break;
    case MachineState::Stopped:
    case MachineState::Stopping:
    case MachineState::Suspending:
      break;
  }
  flush(now, out);
  return {};
}

Result<> Coordinator::cordon(const MachineId& id, bool cordoned, TimePoint now, Output& out) {
  auto place = this->place(id);
  if (!place) return fail(Fault::NoRoute, "no machine " + id.value);
  place->machine->is_cordoned = cordoned;
  if (place->pool->fault == Fault::NoHealthyMachine) {
    place->pool->fault = Fault::None;
    place->pool->retry_at = {};
  }
  touch(*place->app);
  flush(now, out);
  return {};
}

void Coordinator::stop_all(TimePoint now, Output& out) {
  is_stopping_ = true;
  std::vector<Place> all;
  for (const auto& [id, place] : machines_) all.push_back(place);
  for (const Place& place : all) {
    touch(*place.app);
    if (place.app->config->driver() == config::DriverKind::Address) continue;
    place.pool->is_wanted = false;
    if (place.machine->state == MachineState::Suspended) kill_suspended(place, now, out);
    if (place.machine->state == MachineState::Ready ||
        place.machine->state == MachineState::Starting) {
      begin_drain(place, StopReason::Operator, false, now, out);
    }
  }
  flush(now, out);
}

bool Coordinator::has_stopped_all() const {
  return std::ranges::all_of(awake_, [this](const MachineId& id) {
    return machines_.at(id).app->config->driver() == config::DriverKind::Address;
  });
}

void Coordinator::placed(const MachineId& id, const IpAddress& private_v4) {
  const auto place = this->place(id);
  if (!place) return;
  place->machine->private_v4 = private_v4;
  place->machine->has_namespaces = private_v4 != IpAddress();
}

bool Coordinator::adopt(const MachineId& id, const std::string& fingerprint, std::int32_t pid,
                        bool is_frozen, TimePoint now, Output& out) {
  auto place = this->place(id);
  if (!place || place->machine->state != MachineState::Stopped) return false;
  Machine& machine = *place->machine;
  const StoredStart stored = parse_stored_start(fingerprint);
  // In a network of its own a machine takes no port from others.
  for (const auto& [wanted, given] : stored.ports) {
    if (!machine.has_namespaces && taken_ports_.contains(given)) return false;
  }
  for (const auto& [wanted, given] : stored.ports) {
    if (!machine.has_namespaces) taken_ports_[given] = id;
  }
  machine.ports = stored.ports;
  machine.fingerprint = stored.fingerprint;
  machine.pid = pid;
  machine.load->close();
  if (is_frozen) {
    set_state(*place, MachineState::Suspended);
  } else {
    machine.timeline = WakeTimeline{.queued = now, .started = now};
    machine.checks.assign(place->pool->check_count, {});
    machine.wake_deadline = now + place->app->config->rooster.wake_timeout;
    set_state(*place, MachineState::Starting);
    consider_ready(*place, now, out);
  }
  flush(now, out);
  return true;
}

void Coordinator::adoption_done(TimePoint now, Output& out) {
  if (!std::exchange(is_adopting_, false)) return;
  for (const AppId id : apps()) {
    App& app = *apps_.at(id);
    for (const auto& pool : app.pools) tend(app, *pool, false, now, out);
  }
  flush(now, out);
}

}  // namespace rooster::machines
