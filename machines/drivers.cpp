#include "machines/drivers.hpp"

#include "core/private_address.hpp"
#include "machines/health_checks.hpp"
#include "machines/readiness.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <unordered_map>
#include <utility>
#include <variant>

#include <sys/socket.h>
#include <unistd.h>

namespace rooster::machines {

namespace {

constexpr std::size_t kReadBytes = 64 * 1024;  // of one machine's output per turn
constexpr std::size_t kTailBytes = 4 * 1024;   // kept of it, for the log line of a failed start
constexpr std::size_t kTailLines = 5;
constexpr auto kLookupTime = std::chrono::seconds(5);

template <class... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};

// The last lines of an output as one line.
std::string last_lines(std::string_view tail) {
  while (!tail.empty() && (tail.back() == '\n' || tail.back() == '\r')) tail.remove_suffix(1);
  std::size_t begin = tail.size();
  for (std::size_t lines = 0; begin > 0; --begin) {
    if (tail[begin - 1] == '\n' && ++lines == kTailLines) break;
  }
  std::string text(tail.substr(begin));
  std::string out;
  for (const char c : text) {
    if (c == '\n') {
      out += " | ";
    } else if (c != '\r') {
      out += c;
    }
  }
  return out;
}

// What its programs find in /etc: names of the private network, and its own.
keeper::MachineNetwork network_of(const StartSpec& spec) {
  const std::string own = spec.private_address.to_string();
  return {.address = spec.private_address,
          .hosts =
              "127.0.0.1\tlocalhost\n"
              "::1\tlocalhost ip6-localhost ip6-loopback\n" +
              own + "\tfly-local-6pn " + spec.machine.value + '\n',
          .resolvers = "nameserver " + machine_dns_address().to_string() + "\noptions edns0\n"};
}

}  // namespace

/// One machine of the process driver that is alive, or about to be.
struct LiveProcess {
  AppId app;
  ProcessTree tree;
  Descriptor output;
  std::unique_ptr<Watch> output_watch;
  Descriptor notify;
  std::unique_ptr<Watch> notify_watch;
  std::shared_ptr<ListenProbe> probe;  // of its own network
  IpAddress private_v4;                // in its own network
  std::string tail;
};

struct Drivers::Impl {
  Impl(Loop& loop_, keeper::Client& keeper_, net::Resolver& resolver_,
       const Coordinator& coordinator_, DriverEvents events_)
      : loop(loop_),
        keeper(keeper_),
        resolver(resolver_),
        coordinator(coordinator_),
        events(std::move(events_)),
        readiness(loop_,
                  {.listening = [this](const MachineId& id) { on_listening(id); },
                   .diagnosed = events.diagnosed},
                  [this](OwnSocketsQuestion question, auto answer) {
                    ask_own_sockets(std::move(question), std::move(answer));
                  }),
        checks(
            loop_, events.checked,
            [this](const MachineId& id) {
              const Machine* machine = coordinator.find(id);
              return machine != nullptr && machine->state == MachineState::Starting;
            },
            [this](const MachineId& id, std::function<void(Descriptor)> on_socket) {
              open_inside(id, std::move(on_socket));
            }),
        lookups(loop_) {}

  // Reports reach the coordinator in a turn of their own: it is never entered twice.
  template <class Call>
  void later(Call call) {
    loop.post(std::move(call));
  }

  void start(StartMachine command);
  LiveProcess& take(const MachineId& id, AppId app, keeper::Spawned spawned);
  void watch_output(const MachineId& id, LiveProcess& process);
  void read_output(const MachineId& id);
  void read_notify(const MachineId& id);
  void take_notice(const MachineId& id, std::string_view text);
  void ask_own_sockets(OwnSocketsQuestion question, std::function<void(const OwnSockets&)> answer);
  void watch_readiness(const MachineId& id);
  void watch_checks(const MachineId& id);
  void on_listening(const MachineId& id);
  void open_inside(const MachineId& id, std::function<void(Descriptor)> on_socket);
  void freeze(const MachineId& id);
  void thaw(const MachineId& id);
  void resolve(const ResolveApp& command);
  bool is_address_of(AppId app, const std::string& name) const;
  Task<> keep_resolved(AppId app, std::string name, std::shared_ptr<Waiter> waiter);

  Loop& loop;
  keeper::Client& keeper;
  net::Resolver& resolver;
  const Coordinator& coordinator;
  DriverEvents events;
  Readiness readiness;
  HealthChecks checks;
  TaskGroup lookups;
  std::unique_ptr<char[]> scratch = std::make_unique_for_overwrite<char[]>(kReadBytes);
  std::unordered_map<MachineId, std::unique_ptr<LiveProcess>> processes;
  std::unordered_map<AppId, std::shared_ptr<Waiter>> resolving;
};

// ---- the process driver

void Drivers::Impl::start(StartMachine command) {
  StartSpec& spec = command.spec;
  keeper::Spawn spawn{.machine = spec.machine.value,
                      .argv = std::move(spec.argv),
                      .env = std::move(spec.env),
                      .cwd = std::move(spec.directory),
                      .user = std::move(spec.user),
                      .kill_signal = static_cast<std::uint8_t>(spec.kill_signal),
                      .kill_timeout = spec.kill_timeout,
                      .wants_notify = spec.wants_notify,
                      .fingerprint = std::move(spec.fingerprint)};
  if (spawn.user.empty()) spawn.uid = events.uid_for(spec.app);
  if (spec.private_address != IpAddress()) spawn.network = network_of(spec);
  keeper.request(
      std::move(spawn), [this, id = spec.machine, app = command.app](keeper::Reply reply) {
        auto shared = std::make_shared<keeper::Reply>(std::move(reply));
        later([this, id, app, shared] {
          if (auto* spawned = std::get_if<keeper::Spawned>(shared.get())) {
            const LiveProcess& process = take(id, app, std::move(*spawned));
            if (events.placed) events.placed(id, process.private_v4);
            events.started(id, spawned->pid);
            watch_readiness(id);
          } else if (const auto* failed = std::get_if<keeper::SpawnFailed>(shared.get())) {
            const bool is_exec = failed->step == keeper::SpawnStep::Exec ||
                                 failed->step == keeper::SpawnStep::Directory ||
                                 failed->step == keeper::SpawnStep::User;
            events.start_failed(id, is_exec ? Fault::ExecFailed : Fault::StartFailed, failed->text);
          } else if (const auto* other = std::get_if<keeper::Failed>(shared.get())) {
            keeper.request(keeper::Kill{.machine = id.value}, [](keeper::Reply) {});
            events.start_failed(id, Fault::StartFailed, other->text);
          }
        });
      });
}

LiveProcess& Drivers::Impl::take(const MachineId& id, AppId app, keeper::Spawned spawned) {
  auto process = std::make_unique<LiveProcess>();
  process->app = app;
  process->tree = {.pid = spawned.pid, .start_time = spawned.start_time, .cgroup = spawned.cgroup};
  process->output = std::move(spawned.output);
  process->notify = std::move(spawned.notify);
  if (spawned.place) {
    process->probe = std::make_shared<ListenProbe>(std::move(spawned.place->diag));
    process->private_v4 = spawned.place->address_v4;
  }
  LiveProcess& kept = *process;
  processes[id] = std::move(process);
  watch_output(id, kept);
  return kept;
}

void Drivers::Impl::watch_output(const MachineId& id, LiveProcess& process) {
  if (process.output) {
    process.output_watch =
        std::make_unique<Watch>(loop, process.output.get(), [this, id] { read_output(id); });
  }
  if (process.notify) {
    process.notify_watch =
        std::make_unique<Watch>(loop, process.notify.get(), [this, id] { read_notify(id); });
  }
}

// Never lets the app block: whatever it writes is taken, and what nobody can keep is dropped
// further on.
void Drivers::Impl::read_output(const MachineId& id) {
  const auto found = processes.find(id);
  if (found == processes.end() || !found->second->output) return;
  LiveProcess& process = *found->second;
  const ssize_t got = ::read(process.output.get(), scratch.get(), kReadBytes);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    process.output_watch.reset();
    process.output.reset();
    return;
  }
  const std::string_view piece(scratch.get(), static_cast<std::size_t>(got));
  process.tail.append(piece.substr(piece.size() > kTailBytes ? piece.size() - kTailBytes : 0));
  if (process.tail.size() > 2 * kTailBytes) {
    process.tail.erase(0, process.tail.size() - kTailBytes);
  }
  events.output(id, piece);
}

// READY=1 (sd_notify(3)), believed only from a process of the machine itself.
void Drivers::Impl::read_notify(const MachineId& id) {
  const auto found = processes.find(id);
  if (found == processes.end() || !found->second->notify) return;
  std::array<char, 4096> text;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(ucred))> control;
  iovec part{text.data(), text.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t got = ::recvmsg(found->second->notify.get(), &message, MSG_DONTWAIT);
  if (got <= 0) return;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_type != SCM_CREDENTIALS) return;
  ucred sender{};
  std::copy_n(CMSG_DATA(header), sizeof sender, reinterpret_cast<unsigned char*>(&sender));
  keeper.request(keeper::Owns{.machine = id.value, .is_whole = true, .pid = sender.pid},
                 [this, id, said = std::string(text.data(), static_cast<std::size_t>(got))](
                     const keeper::Reply& reply) {
                   const auto* owned = std::get_if<keeper::Owned>(&reply);
                   if (owned == nullptr || !owned->has_pid) return;
                   later([this, id, said] { take_notice(id, said); });
                 });
}

void Drivers::Impl::take_notice(const MachineId& id, std::string_view text) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    if (line == "READY=1") events.notified(id);
    text.remove_prefix(std::min(line.size() + 1, text.size()));
  }
}

void Drivers::Impl::ask_own_sockets(OwnSocketsQuestion question,
                                    std::function<void(const OwnSockets&)> answer) {
  // More listeners than a message has room for: the machine's own are most likely the youngest.
  auto& inodes = question.inodes;
  if (inodes.size() > keeper::kMaxStrings) {
    std::ranges::nth_element(inodes, inodes.end() - keeper::kMaxStrings);
    inodes.erase(inodes.begin(), inodes.end() - keeper::kMaxStrings);
  }
  keeper.request(keeper::Owns{.machine = std::move(question.machine.value),
                              .is_whole = question.reach == OwnSocketsQuestion::Reach::Whole,
                              .inodes = std::move(inodes)},
                 [this, answer = std::move(answer)](keeper::Reply reply) {
                   OwnSockets own;
                   if (auto* owned = std::get_if<keeper::Owned>(&reply)) {
                     own = {.inodes = std::move(owned->inodes),
                            .hidden_users = std::move(owned->hidden_users)};
                   }
                   later([answer, own = std::move(own)] { answer(own); });
                 });
}

// Where nothing is to be listened for, the machine counts as ready when it runs; its checks begin
// then.
void Drivers::Impl::watch_readiness(const MachineId& id) {
  const auto found = processes.find(id);
  if (found == processes.end()) return;
  const AppViewPtr view = coordinator.view(found->second->app);
  const auto seen = std::ranges::find(view->machines, id, &MachineView::id);
  if (seen == view->machines.end()) return;
  const std::uint16_t internal = readiness_port(*view->config, seen->group);
  if (internal == 0) return watch_checks(id);
  const auto placed = seen->ports.find(internal);
  readiness.watch(id, found->second->tree, placed != seen->ports.end() ? placed->second : internal,
                  found->second->probe);
}

void Drivers::Impl::on_listening(const MachineId& id) {
  watch_checks(id);
  events.listening(id);
}

void Drivers::Impl::watch_checks(const MachineId& id) {
  const auto app = coordinator.app_of(id);
  if (!app) return;
  const AppViewPtr view = coordinator.view(*app);
  const auto seen = std::ranges::find(view->machines, id, &MachineView::id);
  if (seen == view->machines.end()) return;
  std::vector<const config::Check*> run;
  std::vector<Endpoint> targets;
  for (const config::Service* service : services_of(*view->config, seen->group)) {
    for (const config::Check& check : service->checks) {
      run.push_back(&check);
      targets.push_back(
          {seen->netns ? seen->private_address : seen->address, seen->port_for(*service)});
    }
  }
  if (run.empty()) return;
  checks.watch(id, view->config, std::move(run), std::move(targets), seen->netns);
}

void Drivers::Impl::open_inside(const MachineId& id, std::function<void(Descriptor)> on_socket) {
  keeper.request(keeper::Sockets{.machine = id.value},
                 [on_socket = std::move(on_socket)](keeper::Reply reply) {
                   auto* made = std::get_if<keeper::SocketsMade>(&reply);
                   const bool has_one = made != nullptr && !made->sockets.empty();
                   on_socket(has_one ? std::move(made->sockets.front()) : Descriptor());
                 });
}

void Drivers::Impl::freeze(const MachineId& id) {
  keeper.request(keeper::Freeze{.machine = id.value}, [this, id](const keeper::Reply& reply) {
    const bool done = std::holds_alternative<keeper::Done>(reply);
    later([this, id, done] { events.suspended(id, done); });
  });
}

void Drivers::Impl::thaw(const MachineId& id) {
  keeper.request(keeper::Thaw{.machine = id.value}, [this, id](const keeper::Reply& reply) {
    const bool done = std::holds_alternative<keeper::Done>(reply);
    later([this, id, done] {
      events.resumed(id, done);
      if (done) watch_readiness(id);
    });
  });
}

// ---- the address driver

void Drivers::Impl::resolve(const ResolveApp& command) {
  if (const auto old = resolving.find(command.app); old != resolving.end()) {
    old->second->interrupt(Fault::Interrupted);
    resolving.erase(old);
  }
  auto waiter = std::make_shared<Waiter>(lookups);
  resolving[command.app] = waiter;
  lookups.spawn(keep_resolved(command.app, command.address, waiter));
}

bool Drivers::Impl::is_address_of(AppId app, const std::string& name) const {
  const AppViewPtr view = coordinator.view(app);
  return view && !view->removed && view->config->driver() == config::DriverKind::Address &&
         view->config->rooster.address == name;
}

// Again at the answer's end of life, until the app is removed or has another address.
Task<> Drivers::Impl::keep_resolved(AppId app, std::string name, std::shared_ptr<Waiter> waiter) {
  co_await waiter->wait(loop.now());  // the coordinator is not entered from inside its own output
  while (!waiter->is_interrupted()) {
    const TimePoint deadline = Clock::now() + kLookupTime;
    auto found = co_await resolver.resolve(name, *waiter, deadline);
    if (waiter->is_interrupted() || !is_address_of(app, name)) break;
    later([this, app, addresses = found ? found->addresses : std::vector<IpAddress>()] {
      events.resolved(app, addresses);
    });
    const TimePoint again = found ? std::max(found->fresh_until, Clock::now() + kLookupTime)
                                  : Clock::now() + kLookupTime;
    co_await waiter->wait(again);
    if (!is_address_of(app, name)) break;
  }
  co_return {};
}

// ---- all

Drivers::Drivers(Loop& loop, keeper::Client& keeper, net::Resolver& resolver,
                 const Coordinator& coordinator, DriverEvents events)
    : impl_(std::make_unique<Impl>(loop, keeper, resolver, coordinator, std::move(events))) {}

Drivers::~Drivers() = default;

void Drivers::run(DriverCommand command) {
  Impl& impl = *impl_;
  const auto ignore = [](const keeper::Reply&) {};
  std::visit(Overloaded{[&](StartMachine& start) { impl.start(std::move(start)); },
                        [&](ResumeMachine& resume) { impl.thaw(resume.machine); },
                        [&](SuspendMachine& suspend) { impl.freeze(suspend.machine); },
                        [&](SignalMachine& signal) {
                          impl.keeper.request(
                              keeper::Signal{.machine = signal.machine.value,
                                             .signal = static_cast<std::uint8_t>(signal.signal)},
                              ignore);
                        },
                        [&](KillMachine& kill) {
                          impl.keeper.request(keeper::Kill{.machine = kill.machine.value}, ignore);
                        },
                        [&](ResolveApp& resolve) { impl.resolve(resolve); },
                        [&](GoAway&) {},  // the workers': control passes it on
                        [&](Unwatch& unwatch) {
                          impl.readiness.forget(unwatch.machine);
                          impl.checks.forget(unwatch.machine);
                        }},
             command);
}

void Drivers::adopt(AppId app, keeper::Alive machine) {
  const MachineId id{machine.machine};
  const std::int32_t pid = machine.process.pid;
  LiveProcess& process = impl_->take(id, app, std::move(machine.process));
  process.tail = machine.output_tail;
  if (!machine.output_tail.empty()) impl_->events.output(id, machine.output_tail);
  if (machine.is_frozen) return;  // nothing is asked of it until it is thawed
  impl_->events.started(id, pid);
  impl_->watch_readiness(id);
}

void Drivers::on_exited(const keeper::Exited& event) {
  const MachineId id{event.machine};
  const ExitStatus status{
      .code = event.code, .signal = event.signal, .out_of_memory = event.out_of_memory};
  impl_->later([this, id, status] {
    std::string tail;
    // What it wrote last is still in the pipe.
    for (int piece = 0; piece < 16; ++piece) {
      const auto found = impl_->processes.find(id);
      if (found == impl_->processes.end() || !found->second->output) break;
      const std::size_t before = found->second->tail.size();
      impl_->read_output(id);
      if (found->second->tail.size() == before) break;
    }
    const auto found = impl_->processes.find(id);
    if (found != impl_->processes.end()) {
      tail = last_lines(found->second->tail);
      impl_->processes.erase(found);
    }
    impl_->readiness.forget(id);
    impl_->checks.forget(id);
    impl_->events.exited(id, status, std::move(tail));
  });
}

void Drivers::stop(std::move_only_function<void()> done) {
  for (auto& [app, waiter] : impl_->resolving) waiter->interrupt(Fault::Interrupted);
  impl_->checks.stop(
      [this, done = std::move(done)]() mutable { impl_->lookups.when_empty(std::move(done)); });
}

}  // namespace rooster::machines
