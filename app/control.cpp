#include "app/control.hpp"

#include "admin/history.hpp"
#include "app/private_network.hpp"

#include <algorithm>
#include <utility>

#include <sys/socket.h>

namespace rooster::app {

namespace {

constexpr auto kSliceTime =
    std::chrono::microseconds(700);  // control never runs longer than a millisecond
constexpr auto kEpochPoll = std::chrono::milliseconds(1);

// A port of the host's that nobody has at this moment: for a machine whose own is taken.
std::uint16_t free_port() {
  const Descriptor probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage address{};
  socklen_t size = Endpoint{IpAddress::v4(0x7F000001), 0}.to(address);
  if (!probe || ::bind(probe.get(), reinterpret_cast<sockaddr*>(&address), size) != 0) return 0;
  size = sizeof address;
  if (::getsockname(probe.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return Endpoint::from(address).port;
}

}  // namespace

/// What remains of one apply().
struct Control::Slice {
  std::shared_ptr<const config::ConfigSet> before;
  std::shared_ptr<const config::ConfigSet> after;
  std::vector<config::Change> changes;
  std::size_t next = 0;
  std::function<void(std::size_t)> done;
};

Control::Control(Parts parts)
    : parts_(std::move(parts)),
      coordinator_({.region = parts_.region,
                    .awaits_adoption = parts_.welcome.generation > 1,
                    .can_suspend = parts_.welcome.can_freeze,
                    .free_port = free_port,
                    .is_own_listener = parts_.is_own_listener,
                    .places = parts_.private_network != nullptr ? parts_.private_network->places()
                                                                : machines::PrivatePlaces{}}),
      lifecycle_(parts_.metrics.control()),
      resolver_(parts_.loop),
      timer_(parts_.loop,
             [this] {
               with_output(
                   [this](TimePoint now, machines::Output& out) { coordinator_.tick(now, out); });
             }),
      epoch_timer_(parts_.loop, [this] { watch_epochs(); }) {
  drivers_ = std::make_unique<machines::Drivers>(parts_.loop, parts_.keeper, resolver_,
                                                 coordinator_, driver_events());
  parts_.keeper.set_on_event([this](keeper::Event event) {
    if (const auto* exited = std::get_if<keeper::Exited>(&event)) drivers_->on_exited(*exited);
    const auto* command = std::get_if<keeper::ExecExited>(&event);
    if (command != nullptr && exec_exited_) exec_exited_(*command);
  });
}

Control::~Control() = default;

// Every input of the coordinator goes through here, so that its output is always delivered.
template <class Call>
void Control::with_output(Call call) {
  machines::Output output;
  call(Clock::now(), output);
  deliver(output);
}

void Control::deliver(machines::Output& output) {
  lifecycle_.count(output, coordinator_.ledger(), metric_seconds(Clock::now()));
  publish(std::move(output.facts));
  for (const machines::MachineLine& line : output.lines) tell(line);
  for (machines::DriverCommand& command : output.commands) {
    if (const auto* leave = std::get_if<machines::GoAway>(&command)) {
      go_away(*leave);
    } else {
      drivers_->run(std::move(command));
    }
  }
  parts_.metrics.control().machines_started.set(static_cast<std::int64_t>(coordinator_.awake()));
  set_timer();
  if (all_stopped_ && coordinator_.has_stopped_all()) {
    parts_.loop.defer(std::exchange(all_stopped_, nullptr));
  }
}

void Control::publish(std::vector<machines::AppViewPtr> facts) {
  if (facts.empty()) return;
  const std::uint64_t epoch = coordinator_.epoch();
  const auto shared = std::make_shared<const std::vector<machines::AppViewPtr>>(std::move(facts));
  for (auto& worker : parts_.workers) worker->adopt(shared, epoch);
  if (parts_.private_network != nullptr) parts_.private_network->adopt(*shared);
  epoch_timer_.set(Clock::now() + kEpochPoll);
}

// Workers publish what they have adopted by a word of their own; a stop waits for all of them.
void Control::watch_epochs() {
  std::uint64_t least = coordinator_.epoch();
  for (const auto& worker : parts_.workers) least = std::min(least, worker->adopted_epoch());
  if (least < coordinator_.epoch()) epoch_timer_.set(Clock::now() + kEpochPoll);
  if (least <= told_epoch_) return;
  told_epoch_ = least;
  with_output([this, least](TimePoint now, machines::Output& out) {
    coordinator_.epoch_adopted(least, now, out);
  });
}

void Control::set_timer() {
  const TimePoint next = coordinator_.next_tick(Clock::now());
  if (next == kNever) {
    timer_.cancel();
  } else {
    timer_.set(next);
  }
}

void Control::go_away(const machines::GoAway& command) {
  const machines::Machine* machine = coordinator_.find(command.machine);
  if (machine == nullptr) return;
  for (auto& worker : parts_.workers) worker->leave(machine->load);
}

void Control::wake(const machines::WakeCommand& command) {
  with_output([this, &command](TimePoint now, machines::Output& out) {
    coordinator_.wake(command, now, out);
  });
}

// ---- drivers

machines::DriverEvents Control::driver_events() {
  using machines::Output;
  machines::Coordinator& to = coordinator_;
  machines::DriverEvents events;
  events.placed = [&to](const MachineId& id, const IpAddress& private_v4) {
    to.placed(id, private_v4);
  };
  events.started = [this, &to](const MachineId& id, std::int32_t pid) {
    with_output([&](TimePoint now, Output& out) { to.started(id, pid, now, out); });
  };
  events.start_failed = [this, &to](const MachineId& id, Fault fault, std::string detail) {
    with_output([&](TimePoint now, Output& out) {
      to.start_failed(id, fault, std::move(detail), now, out);
    });
  };
  events.listening = [this, &to](const MachineId& id) {
    with_output([&](TimePoint now, Output& out) { to.listening(id, now, out); });
  };
  events.diagnosed = [&to](const MachineId& id, Fault fault, std::string detail) {
    to.diagnosed(id, fault, std::move(detail));
  };
  events.notified = [this, &to](const MachineId& id) {
    with_output([&](TimePoint now, Output& out) { to.notified(id, now, out); });
  };
  events.checked = [this, &to](const MachineId& id, std::size_t check, bool passing,
                               std::string output) {
    with_output([&](TimePoint now, Output& out) {
      to.checked(id, check, passing, std::move(output), now, out);
    });
  };
  events.exited = [this, &to](const MachineId& id, machines::ExitStatus status, std::string last) {
    if (auto origin = origin_of(id)) parts_.output_ended(std::move(*origin));
    with_output(
        [&](TimePoint now, Output& out) { to.exited(id, status, std::move(last), now, out); });
  };
  events.suspended = [this, &to](const MachineId& id, bool done) {
    with_output([&](TimePoint now, Output& out) { to.suspended(id, done, now, out); });
  };
  events.resumed = [this, &to](const MachineId& id, bool done) {
    with_output([&](TimePoint now, Output& out) { to.resumed(id, done, now, out); });
  };
  events.resolved = [this, &to](AppId app, const std::vector<IpAddress>& addresses) {
    with_output([&](TimePoint now, Output& out) { to.resolved(app, addresses, now, out); });
  };
  events.uid_for = parts_.uid_for;
  events.output = [this](const MachineId& id, std::string_view bytes) {
    if (auto origin = origin_of(id)) parts_.output(std::move(*origin), std::string(bytes));
  };
  return events;
}

std::optional<admin::LogLine> Control::origin_of(const MachineId& machine) const {
  const auto app = coordinator_.app_of(machine);
  const machines::Machine* known = coordinator_.find(machine);
  if (!app || known == nullptr) return std::nullopt;
  return admin::LogLine{.at = std::chrono::system_clock::now(),
                        .app = names_[app->value],
                        .provider = "app",
                        .machine = machine.value,
                        .region = known->region};
}

// A predecessor's machines go on under this server where the configuration still has them; others
// are killed.
void Control::adopt_machines(std::function<void()> done) {
  if (parts_.welcome.generation <= 1) return done();
  parts_.keeper.list(
      [this](keeper::Alive alive) {
        const MachineId id{alive.machine};
        bool is_ours = false;
        const auto& place = alive.process.place;
        coordinator_.placed(id, place ? place->address_v4 : IpAddress());
        with_output([&](TimePoint now, machines::Output& out) {
          is_ours = coordinator_.adopt(id, alive.fingerprint, alive.process.pid, alive.is_frozen,
                                       now, out);
        });
        const auto app = coordinator_.app_of(id);
        if (is_ours && app) {
          drivers_->adopt(*app, std::move(alive));
        } else {
          parts_.keeper.request(keeper::Kill{.machine = id.value}, [](const keeper::Reply&) {});
        }
      },
      [this, done = std::move(done)](std::int32_t) {
        with_output(
            [this](TimePoint now, machines::Output& out) { coordinator_.adoption_done(now, out); });
        done();
      });
}

// ---- configuration

AppId Control::id_of(const std::string& name) {
  const auto [entry, is_new] =
      ids_.try_emplace(name, AppId{static_cast<std::uint32_t>(names_.size())});
  if (is_new) {
    names_.push_back(name);
    parts_.name_app(entry->second, name);
  }
  return entry->second;
}

void Control::apply(std::shared_ptr<const config::ConfigSet> before,
                    std::shared_ptr<const config::ConfigSet> after,
                    std::function<void(std::size_t)> done) {
  auto slice = std::make_shared<Slice>();
  slice->changes = config::changes(before ? *before : config::ConfigSet{}, *after);
  slice->before = std::move(before);
  slice->after = std::move(after);
  slice->done = std::move(done);
  run_slice(std::move(slice));
}

void Control::run_slice(std::shared_ptr<Slice> slice) {
  const TimePoint until = Clock::now() + kSliceTime;
  with_output([&](TimePoint now, machines::Output& out) {
    while (slice->next < slice->changes.size() && Clock::now() < until) {
      const config::Change& change = slice->changes[slice->next++];
      if (change.after) {
        coordinator_.configure(id_of(change.after->name), change.after, now, out);
      } else {
        coordinator_.remove(id_of(change.before->name), now, out);
      }
    }
  });
  if (slice->next < slice->changes.size()) {
    parts_.loop.post([this, slice = std::move(slice)] { run_slice(slice); });
    return;
  }
  parts_.metrics.control().apps_loaded.set(static_cast<std::int64_t>(slice->after->apps.size()));
  slice->done(slice->changes.size());
}

void Control::stop_machines(std::function<void()> done) {
  all_stopped_ = std::move(done);
  with_output([this](TimePoint now, machines::Output& out) { coordinator_.stop_all(now, out); });
}

// ---- what others see

void Control::tell(const machines::MachineLine& line) {
  static constexpr std::string_view kLevels[] = {"info", "warn", "error"};
  const std::string& app = names_[line.app.value];
  parts_.log_line({.at = std::chrono::system_clock::now(),
                   .app = app,
                   .provider = std::string(line.provider),
                   .machine = line.machine.value,
                   .region = line.region,
                   .level = std::string(kLevels[static_cast<std::size_t>(line.level)]),
                   .message = line.message});
  const LogLevel level = line.level == machines::MachineLine::Level::Info   ? LogLevel::Info
                         : line.level == machines::MachineLine::Level::Warn ? LogLevel::Warn
                                                                            : LogLevel::Error;
  parts_.log.write(level, line.message,
                   {{"app", app}, {"machine", line.machine.value}, {"region", line.region}});
}

Result<> Control::order(const admin::MachineCommand& command) {
  const MachineId id{command.machine};
  if (coordinator_.find(id) == nullptr) {
    return fail(Fault::NoRoute,
                "no machine has the id " + command.machine + "; `rooster machine list` shows them");
  }
  const machines::StopWish wish{.signal = machines::signal_number(command.signal),
                                .timeout = command.timeout};
  if (!command.signal.empty() && wish.signal == 0) {
    return fail(Fault::BadRequest, "no signal is called \"" + command.signal + "\"");
  }
  Result<> result;
  with_output([&](TimePoint now, machines::Output& out) {
    switch (command.order) {
      case admin::MachineOrder::Start:
        result = coordinator_.start(id, now, out);
        break;
      case admin::MachineOrder::Stop:
        result = coordinator_.stop(id, false, now, out, wish);
        break;
      case admin::MachineOrder::Suspend:
        result = coordinator_.stop(id, true, now, out);
        break;
      case admin::MachineOrder::Cordon:
        result = coordinator_.cordon(id, true, now, out);
        break;
      case admin::MachineOrder::Uncordon:
        result = coordinator_.cordon(id, false, now, out);
        break;
    }
  });
  return result;
}

admin::AppFacts Control::facts_of(AppId app) const {
  admin::AppFacts facts;
  facts.view = coordinator_.view(app);
  facts.ledger = coordinator_.ledger().latest_of(app, 20);
  facts.waiting = facts.view->waiting ? facts.view->waiting->count.load() : 0;
  for (const machines::MachineView& seen : facts.view->machines) {
    const machines::Machine* machine = coordinator_.find(seen.id);
    if (machine == nullptr) continue;
    admin::MachineFacts& one = facts.machines[seen.id.value];
    one.state = std::string(to_string(machine->state));
    one.pid = machine->pid;
    one.version = std::max(machine->version, 1U);
    one.updated = machine->changed_at;
    const auto checks = machines::checks_of(*facts.view->config, seen.group);
    for (std::size_t i = 0; i < checks.size() && i < machine->checks.size(); ++i) {
      one.checks.push_back({.name = checks[i]->name,
                            .passing = machine->checks[i].passing,
                            .output = machine->checks[i].output,
                            .updated = machine->checks[i].updated});
    }
  }
  return facts;
}

admin::NodeStatus Control::status() const {
  admin::NodeStatus status;
  status.region = parts_.region;
  status.workers = parts_.workers.size();
  status.apps = static_cast<std::size_t>(parts_.metrics.control().apps_loaded.read());
  status.machines_started = coordinator_.awake();
  status.connections = parts_.budget.clients.load(std::memory_order_relaxed);
  status.waiting = parts_.waiting.waiting();
  if (fill_status_) fill_status_(status);
  return status;
}

std::vector<admin::AppFacts> Control::facts_after(const std::string& after,
                                                  std::size_t most) const {
  std::vector<admin::AppFacts> found;
  for (auto entry = ids_.upper_bound(after); entry != ids_.end() && found.size() < most; ++entry) {
    const machines::AppViewPtr view = coordinator_.view(entry->second);
    if (view && !view->removed) found.push_back(facts_of(entry->second));
  }
  return found;
}

Result<admin::AppFacts> Control::facts_of(const std::string& app) const {
  const auto found = ids_.find(app);
  const machines::AppViewPtr view =
      found == ids_.end() ? nullptr : coordinator_.view(found->second);
  if (!view || view->removed) {
    return fail(Fault::NoRoute, "no app is called \"" + app + "\"");
  }
  return facts_of(found->second);
}

}  // namespace rooster::app
