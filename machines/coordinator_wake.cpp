// Coordinator, third part: starting.
//   1. wake() or the minimum wants a machine: nothing if one is ready or starting, a stop taken
//   back if it still can
//   2. begin_start(): ports placed, Waking published, the driver told
//   3. started(), listening(), checked(), notified(): milestones; consider_ready() opens the word
//   4. or it ends: exited() three times, start_failed(), expire_wake() -> fail_wake() with a
//   backoff
#include "machines/coordinator.hpp"
#include "machines/coordinator_state.hpp"

#include <algorithm>
#include <utility>

namespace rooster::machines {
namespace {

std::string say(const ExitStatus& status) {
  if (status.out_of_memory) return "was killed: out of memory";
  if (status.signal != 0) return "was killed by signal " + std::to_string(status.signal);
  return "exited with code: " + std::to_string(status.code);
}

}  // namespace

void Coordinator::wake(const WakeCommand& command, TimePoint now, Output& out) {
  auto found = apps_.find(command.app);
  if (found == apps_.end()) return;
  App& app = *found->second;
  for (const auto& pool : app.pools) {
    if (pool->group != command.group || pool->is_gone) continue;
    if (command.hello_from &&
        (pool->phase != WakePhase::Asleep ||
         !prewakes_.take(*command.hello_from, app.id, app.config->rooster.idle_timeout, now))) {
      continue;
    }
    if (!command.machine.empty() && wake_one(app, *pool, command, now, out)) continue;
    if (pool->phase != WakePhase::Ready && pool->phase != WakePhase::Waking) pool->waker = command;
    want(app, *pool, now, out);
  }
  flush(now, out);
}

// The machine that is wanted, and no other. False: it can't be started now; what is usual follows.
bool Coordinator::wake_one(App& app, Pool& pool, const WakeCommand& command, TimePoint now,
                           Output& out) {
  if (app.is_removed || is_stopping_ || is_adopting_ || pool.retry_at > now) return false;
  const auto found = std::ranges::find_if(
      pool.machines, [&](const auto& one) { return one->id.value == command.machine; });
  if (found == pool.machines.end()) return false;
  Machine& machine = **found;
  if (!machine.can_start() || machine.is_cordoned) return false;
  if (pool.running_in(machine.region) >= app.maximum(machine.region)) return false;
  pool.waker = command;
  ++counters_.wakes;
  record(app, &machine, LedgerEntry::Kind::Wake, command.source, command.reason);
  begin_start(app, pool, machine, now, out);
  return true;
}

void Coordinator::want(App& app, Pool& pool, TimePoint now, Output& out) {
  pool.is_wanted = false;
  if (app.is_removed || pool.is_gone || is_stopping_ || pool.retry_at == kNever) return;
  if (pool.routable() || pool.in_state(MachineState::Starting) || pool.is_resolving) return;
  if (pool.retry_at > now || is_adopting_) {
    pool.is_wanted = true;
    waiting_pools_.emplace(app.id, pool.group);
    return;
  }
  if (app.config->driver() == config::DriverKind::Address) {
    if (pool.find_machine([](const Machine& m) { return m.is_cordoned; })) {
      return fail_wake(app, pool, Fault::NoHealthyMachine, "every address is cordoned", now, out);
    }
    pool.is_resolving = true;
    out.commands.emplace_back(ResolveApp{.app = app.id, .address = app.config->rooster.address});
    record(app, nullptr, LedgerEntry::Kind::Wake, pool.waker.source, pool.waker.reason);
    return touch(app);
  }
  for (const auto& machine : pool.machines) {
    const Place place{&app, &pool, machine.get()};
    if (machine->state == MachineState::Draining && cancel_drain(place, now, out)) return;
  }
  if (Machine* machine = next_to_start(app, pool)) {
    ++counters_.wakes;
    record(app, machine, LedgerEntry::Kind::Wake, pool.waker.source, pool.waker.reason);
    return begin_start(app, pool, *machine, now, out);
  }
  const bool one_will_stop = pool.find_machine(
      [](const Machine& m) { return m.runs() && m.state != MachineState::Ready && !m.is_surplus; });
  if (one_will_stop) {
    pool.is_wanted = true;  // started again by after_end()
    return;
  }
  fail_wake(app, pool, Fault::NoHealthyMachine, "no machine that could be started", now, out);
}

// Nearest first: this node's region, the primary one, then the rest; suspended before stopped.
Machine* Coordinator::next_to_start(const App& app, Pool& pool) {
  const auto rank = [&](const Machine& machine) {
    const int distance = machine.region == options_.region   ? 0
                         : machine.region == app.home_region ? 2
                                                             : 4;
    return distance + (machine.state == MachineState::Suspended ? 0 : 1);
  };
  Machine* best = nullptr;
  for (const auto& machine : pool.machines) {
    if (!machine->can_start() || machine->is_cordoned) continue;
    if (pool.running_in(machine->region) >= app.maximum(machine->region)) continue;
    if (!best || rank(*machine) < rank(*best)) best = machine.get();
  }
  return best;
}

bool Coordinator::place_ports(App& app, Pool& pool, Machine& machine) {
  std::map<std::uint16_t, std::uint16_t> ports;
  bool is_first = true;
  for (const config::Service* service : services_of(*app.config, pool.group)) {
    const std::uint16_t wanted = service->internal_port;
    if (wanted == 0 || ports.contains(wanted)) continue;
    if (machine.has_namespaces) {  // all its ports are its own
      ports[wanted] = wanted;
      continue;
    }
    auto taken = taken_ports_.find(wanted);
    std::uint16_t given = wanted;
    if (taken != taken_ports_.end() && taken->second != machine.id) {
      given = is_first && takes_port(*app.config, pool.group) && options_.free_port
                  ? options_.free_port()
                  : 0;
      if (given == 0) {
        const auto other = place(taken->second);
        machine.diagnosis_detail =
            "port " + std::to_string(wanted) + " is used by machine " + taken->second.value +
            (other ? " of app " + other->app->config->name : std::string()) +
            "; write $PORT or {port} in the command so that it can be told another";
        return false;
      }
    }
    ports[wanted] = given;
    is_first = false;
  }
  if (!machine.has_namespaces) {
    for (const auto& [wanted, given] : ports) taken_ports_[given] = machine.id;
  }
  machine.ports = std::move(ports);
  return true;
}

void Coordinator::begin_start(App& app, Pool& pool, Machine& machine, TimePoint now, Output& out) {
  const Place place{&app, &pool, &machine};
  const bool resumes = machine.state == MachineState::Suspended;
  if (resumes && machine.fingerprint != pool.fingerprint) {
    pool.is_wanted = true;  // frozen with an old config: ended, then started anew
    return kill_suspended(place, now, out);
  }
  pool.fault = Fault::None;
  pool.detail.clear();
  machine.is_held = false;
  machine.diagnosis = Fault::None;
  machine.diagnosis_detail.clear();
  if (!resumes && !place_ports(app, pool, machine)) {
    machine.last_fault = Fault::PortTaken;
    machine.last_error = machine.diagnosis_detail;
    line(place, "proxy", MachineLine::Level::Error, machine.last_error, out);
    return fail_wake(app, pool, Fault::PortTaken, machine.last_error, now, out);
  }
  const TimePoint asked = pool.waker.asked_at == TimePoint{} ? now : pool.waker.asked_at;
  machine.timeline = WakeTimeline{.queued = std::min(asked, now)};
  machine.is_listening = machine.is_notified = machine.is_killed = false;
  machine.is_resumed = resumes;
  machine.stale_since = kNever;
  machine.checks.assign(pool.check_count, {});
  machine.last_fault = Fault::None;
  machine.last_error.clear();
  if (std::exchange(machine.fingerprint, pool.fingerprint) != pool.fingerprint) ++machine.version;
  // Three tries share one deadline.
  if (pool.exits_this_wake == 0) pool.wake_deadline = now + app.config->rooster.wake_timeout;
  machine.wake_deadline = pool.wake_deadline;
  set_state(place, MachineState::Starting);
  line(place, "proxy", MachineLine::Level::Info, resumes ? "Resuming machine" : "Starting machine",
       out);
  if (resumes) {
    ++counters_.resumes;
    out.commands.emplace_back(ResumeMachine{.app = app.id, .machine = machine.id});
    return;
  }
  StartSpec spec = make_start_spec(
      *app.config,
      {.id = machine.id,
       .region = machine.region,
       .group = pool.group,
       .private_address = machine.has_namespaces ? machine.private_address : IpAddress()},
      machine.ports);
  machine.kill_signal = spec.kill_signal;
  machine.kill_timeout = spec.kill_timeout;
  ++counters_.starts;
  out.commands.emplace_back(StartMachine{.app = app.id, .spec = std::move(spec)});
}

void Coordinator::started(const MachineId& id, std::int32_t pid, TimePoint now, Output& out) {
  auto place = this->place(id);
  if (!place) return;
  Machine& machine = *place->machine;
  machine.pid = pid;
  if (machine.state != MachineState::Starting) return;
  const bool is_adopted = machine.timeline->started != TimePoint{};
  machine.timeline->started = now;
  line(*place, "runner", MachineLine::Level::Info,
       is_adopted ? "Machine goes on under a new server"
                  : "Machine started in " + fly_duration(now - machine.timeline->queued),
       out);
  touch(*place->app);
  consider_ready(*place, now, out);
  flush(now, out);
}

void Coordinator::listening(const MachineId& id, TimePoint now, Output& out) {
  auto place = this->place(id);
  if (!place || place->machine->state != MachineState::Starting) return;
  Machine& machine = *place->machine;
  machine.is_listening = true;
  machine.timeline->listening = now;
  consider_ready(*place, now, out);
  flush(now, out);
}

void Coordinator::notified(const MachineId& id, TimePoint now, Output& out) {
  auto place = this->place(id);
  if (!place || place->machine->state != MachineState::Starting) return;
  place->machine->is_notified = true;
  consider_ready(*place, now, out);
  flush(now, out);
}

void Coordinator::diagnosed(const MachineId& id, Fault fault, std::string detail) {
  auto place = this->place(id);
  if (!place || place->machine->state != MachineState::Starting) return;
  place->machine->diagnosis = fault;
  place->machine->diagnosis_detail = std::move(detail);
}

void Coordinator::checked(const MachineId& id, std::size_t check, bool passing, std::string output,
                          TimePoint now, Output& out) {
  auto place = this->place(id);
  if (!place || check >= place->machine->checks.size()) return;
  Machine& machine = *place->machine;
  if (machine.state != MachineState::Starting && machine.state != MachineState::Ready) return;
  ServiceCheckState& state = machine.checks[check];
  const bool changed = state.passing != passing || !state.known;
  state = {.passing = passing,
           .known = true,
           .output = std::move(output),
           .updated = std::chrono::system_clock::now()};
  if (machine.state == MachineState::Starting) {
    consider_ready(*place, now, out);
  } else if (changed) {
    const config::Check& what = *checks_of(*place->app->config, place->pool->group)[check];
    line(*place, "health", passing ? MachineLine::Level::Info : MachineLine::Level::Error,
         "Health check '" + what.name + "' on port " + std::to_string(what.port) +
             (passing ? " is now passing." : " has failed. Your app is not responding properly."),
         out);
    touch(*place->app);
  }
  flush(now, out);
}

void Coordinator::consider_ready(const Place& place, TimePoint now, Output& out) {
  Machine& machine = *place.machine;
  Pool& pool = *place.pool;
  if (machine.state != MachineState::Starting || machine.timeline->started == TimePoint{}) return;
  const bool must_listen = pool.first_port != 0;
  const bool is_ready = place.app->config->rooster.notify
                            ? machine.is_notified
                            : (machine.is_listening || !must_listen) && machine.checks_pass();
  if (!is_ready) return;
  if (machine.timeline->listening == TimePoint{}) machine.timeline->listening = now;
  machine.timeline->ready = now;
  machine.load_generation = machine.load->reopen(options_.boot_ms());
  machine.wake_deadline = kNever;
  pool.exits_this_wake = 0;
  pool.fault = Fault::None;
  pool.retry_at = {};
  pool.is_wanted = false;
  // The leases that follow are those who waited: they must not start another machine
  // (decisions-edge.md 12).
  constexpr auto kBurst = std::chrono::seconds(10);
  pool.scale_after = now + kBurst;
  machine.hello_from = std::exchange(pool.waker.hello_from, std::nullopt);
  machine.takes_when_ready = machine.load->read().takes;
  const WakeTimeline timeline = *machine.timeline;
  set_state(place, MachineState::Ready);
  line(place, "proxy", MachineLine::Level::Info,
       "machine became reachable in " + fly_duration(now - timeline.started), out);
  record(*place.app, &machine, LedgerEntry::Kind::Ready, "rooster",
         (machine.is_resumed ? "resumed in " : "ready in ") + fly_duration(now - timeline.queued));
  refresh_phase(*place.app, pool, now);
  keep_minimum(*place.app, pool, now, out);
}

void Coordinator::fail_wake(App& app, Pool& pool, Fault fault, std::string detail, TimePoint now,
                            Output& out) {
  ++counters_.wake_failures;
  // What lies outside the app (a neighbour on its port, a name server) never makes it hopeless.
  const bool is_the_apps = fault != Fault::NoHealthyMachine && fault != Fault::UpstreamUnresolved &&
                           fault != Fault::PortTaken;
  if (is_the_apps) pool.failures.record(now);
  pool.exits_this_wake = 0;
  pool.is_wanted = false;
  pool.retry_at = pool.failures.is_hopeless(now) ? kNever
                  : is_the_apps                  ? now + pool.failures.next_backoff()
                                                 : now + kFirstBackoff;
  // A request may ask again soon; the minimum, which nobody waits for, ever more rarely.
  if (!is_the_apps) pool.minimum_after = now + pool.failures.next_backoff();
  pool.scale_after = pool.retry_at;
  pool.fault = fault;
  pool.detail = detail;
  // Failed once more without having been anything else in between: still a failure of its own.
  if (pool.phase == WakePhase::Failed) ++pool.generation;
  record(app, nullptr, LedgerEntry::Kind::WakeFailed, "rooster", detail, fault);
  std::string text = "[" + std::string(describe(fault).code) + "] could not start: " + detail;
  if (pool.retry_at == kNever)
    text += "; given up until `rooster machine start` or a changed config";
  line({&app, &pool, nullptr}, "proxy", MachineLine::Level::Error, std::move(text), out);
  touch(app);
  waiting_pools_.emplace(app.id, pool.group);  // the minimum may want it again
}

void Coordinator::start_failed(const MachineId& id, Fault fault, std::string detail, TimePoint now,
                               Output& out) {
  auto place = this->place(id);
  if (!place) return;
  Machine& machine = *place->machine;
  const bool was_starting = machine.state == MachineState::Starting;
  if (!was_starting && machine.state != MachineState::Stopping) return;
  ++counters_.start_failures;
  machine.last_fault = fault;
  machine.last_error = detail;
  out.commands.emplace_back(Unwatch{.machine = id});
  line(*place, "runner", MachineLine::Level::Error, detail, out);
  set_state(*place, MachineState::Stopped);
  if (was_starting) fail_wake(*place->app, *place->pool, fault, std::move(detail), now, out);
  after_end(*place, now, out);
}

void Coordinator::expire_wake(const Place& place, TimePoint now, Output& out) {
  Machine& machine = *place.machine;
  Fault fault = machine.diagnosis != Fault::None ? machine.diagnosis : Fault::WakeTimeout;
  std::string detail = machine.diagnosis_detail;
  if (detail.empty()) {
    detail = machine.is_listening
                 ? "it listens but its checks did not pass"
                 : "not listening on port " + std::to_string(place.pool->first_port);
    detail += " within " + fly_duration(place.app->config->rooster.wake_timeout);
  }
  machine.last_fault = fault;
  machine.last_error = detail;
  begin_drain(place, StopReason::WakeFailed, false, now, out);
  fail_wake(*place.app, *place.pool, fault, std::move(detail), now, out);
}

void Coordinator::exited(const MachineId& id, ExitStatus status, std::string last_output,
                         TimePoint now, Output& out) {
  auto place = this->place(id);
  if (!place || place->machine->state == MachineState::Stopped) return;
  Machine& machine = *place->machine;
  Pool& pool = *place->pool;
  App& app = *place->app;
  const MachineState before = machine.state;
  const bool expected = before == MachineState::Stopping || before == MachineState::Draining;
  ++counters_.exits;
  machine.load->close();
  line(*place, "runner",
       expected || status.code == 0 ? MachineLine::Level::Info : MachineLine::Level::Error,
       "Main child " + say(status), out);
  record(app, &machine, LedgerEntry::Kind::Exit, "rooster", say(status));
  out.commands.emplace_back(Unwatch{.machine = id});
  const Fault diagnosis = machine.diagnosis;
  set_state(*place, MachineState::Stopped);
  if (before == MachineState::Starting) {
    ++counters_.start_failures;
    std::string detail = "the app " + say(status) + " before it was ready";
    if (diagnosis == Fault::PortTaken) detail += "; " + machine.diagnosis_detail;
    if (!last_output.empty()) detail += "; its last output: " + last_output;
    machine.last_fault =
        diagnosis == Fault::PortTaken ? Fault::PortTaken : Fault::ExitedBeforeReady;
    machine.last_error = detail;
    const bool is_certain =
        diagnosis == Fault::PortTaken || ++pool.exits_this_wake >= kExitsPerWake;
    if (is_certain || is_stopping_ || app.is_removed || machine.is_surplus) {
      fail_wake(app, pool, machine.last_fault, std::move(detail), now, out);
    } else {
      pool.failures.record(now);
      begin_start(app, pool, machine, now, out);
      return flush(now, out);
    }
  } else if (before == MachineState::Ready && status.code == 0 && status.signal == 0) {
    machine.is_held = true;  // it ended of its own will: no minimum starts it again
  } else if (before == MachineState::Ready) {
    machine.last_fault = Fault::AppExited;
    machine.last_error = "the app " + say(status);
    if (!last_output.empty()) machine.last_error += "; its last output: " + last_output;
    pool.failures.record(now);
    if (pool.failures.is_hopeless(now)) {
      fail_wake(app, pool, Fault::AppExited, machine.last_error, now, out);
    } else if (now - std::min(pool.ready_since, now) < kSteadyAfter) {
      pool.minimum_after = now + pool.failures.next_backoff();
    }
  }
  after_end(*place, now, out);
}

// A machine has come to rest: whoever wants the app, or another machine of it, may go on.
void Coordinator::after_end(const Place& place, TimePoint now, Output& out) {
  App& app = *place.app;
  Pool& pool = *place.pool;
  if (place.machine->is_surplus && place.machine->state == MachineState::Stopped) {
    forget(app, pool, MachineId(place.machine->id));
  }
  touch(app);
  if (pool.is_wanted) want(app, pool, now, out);
  keep_minimum(app, pool, now, out);
  flush(now, out);
  forget_if_gone(app.id);
}

void Coordinator::resumed(const MachineId& id, bool done, TimePoint now, Output& out) {
  auto place = this->place(id);
  if (!place || place->machine->state != MachineState::Starting) return;
  if (!done) {
    line(*place, "runner", MachineLine::Level::Warn, "could not be resumed: started anew", out);
    place->pool->is_wanted = true;
    place->machine->state = MachineState::Suspended;
    kill_suspended(*place, now, out);
    return flush(now, out);
  }
  started(id, place->machine->pid, now, out);
}

}  // namespace rooster::machines
