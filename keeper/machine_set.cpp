#include "keeper/machine_set.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>

#include <fcntl.h>
#include <pwd.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace rooster::keeper {
namespace {

using namespace std::chrono_literals;

constexpr auto kEndTime = 2s;  // from SIGKILL to gone; longer only in uninterruptible sleep
constexpr auto kFreezeTime = 2s;
constexpr auto kStep = 1ms;  // between looks at what the kernel does not report

Failed no_such(const std::string& machine) {
  return Failed{.error = ESRCH, .text = "machine " + machine + " is not alive"};
}

Failed failure(int error, const std::string& what) {
  return Failed{.error = error, .text = what + ": " + std::system_category().message(error)};
}

std::string own_user_name() {
  const passwd* entry = ::getpwuid(::geteuid());
  return entry != nullptr ? entry->pw_name : "";
}

}  // namespace

MachineSet::MachineSet(Poller& poller, Outbox& outbox, StateFile& state, Cgroups& cgroups,
                       PrivateNetwork& network, rlimit descriptors)
    : poller_(poller), outbox_(outbox), state_(state), cgroups_(cgroups), network_(network) {
  context_.descriptors = descriptors;
  context_.own_user = own_user_name();
  context_.data_folder = state.folder();
  const auto self = read_stat(::getpid());
  invocation_prefix_ =
      std::to_string(::getpid()) + '-' + std::to_string(self ? self->start_time : 0) + '-';
}

MachineSet::Machine* MachineSet::find(const std::string& id) {
  const auto it = machines_.find(id);
  return it == machines_.end() ? nullptr : &it->second;
}

MachineSet::Machine* MachineSet::find_serial(std::uint64_t serial) {
  const auto it = ids_by_serial_.find(serial);
  return it == ids_by_serial_.end() ? nullptr : find(it->second);
}

Spawned MachineSet::describe(const Machine& machine) const {
  const auto copy = [](const Descriptor& from) {
    return Descriptor(from ? ::fcntl(from.get(), F_DUPFD_CLOEXEC, 3) : -1);
  };
  Spawned spawned;
  spawned.pid = machine.child.pid;
  spawned.start_time = machine.start_time;
  spawned.cgroup = machine.cgroup;
  spawned.user_applied = machine.child.user_applied;
  spawned.pidfd = Descriptor(static_cast<int>(::syscall(SYS_pidfd_open, machine.child.pid, 0)));
  spawned.output = copy(machine.child.output);
  spawned.notify = copy(machine.child.notify);
  if (machine.place)
    spawned.place = MachinePlace{.address = machine.place->address,
                                 .address_v4 = machine.place->address_v4,
                                 .diag = copy(machine.place->diag)};
  return spawned;
}

Reply MachineSet::signal(const Signal& request) {
  const Machine* machine = find(request.machine);
  if (machine == nullptr || machine->state == State::Ending || machine->child.pid <= 0)
    return no_such(request.machine);
  if (::kill(-machine->child.pid, request.signal) != 0) return failure(errno, "signal");
  return Done{};
}

Reply MachineSet::kill(const Kill& request) {
  Machine* machine = find(request.machine);
  if (machine == nullptr) return no_such(request.machine);
  if (machine->state == State::Attaching)
    cancel(*machine, ECANCELED);
  else
    kill_everything(*machine);
  return Done{};
}

void MachineSet::kill_everything(Machine& machine) {
  if (machine.child.pid <= 0) return;
  if (machine.child.init > 0) ::kill(machine.child.init, SIGKILL);
  if (!machine.cgroup.empty()) {
    kill_cgroup(machine.cgroup);
    return;
  }
  auto killed = kill_members(machine.child.pid, machine.start_time, machine.invocation);
  machine.remnants.insert(machine.remnants.end(), killed.begin(), killed.end());
}

void MachineSet::freeze(std::uint64_t request, const Freeze& freeze, TimePoint now) {
  Machine* machine = find(freeze.machine);
  if (machine == nullptr || machine->state == State::Ending)
    return outbox_.reply(request, no_such(freeze.machine));
  if (machine->cgroup.empty())
    return outbox_.reply(request, Failed{.error = EOPNOTSUPP, .text = "no writable cgroup2"});
  if (machine->freeze_request != 0)
    return outbox_.reply(request, Failed{.error = EBUSY, .text = "a freeze is under way"});
  if (!freeze_cgroup(machine->cgroup, true))
    return outbox_.reply(request, failure(errno, "freeze"));
  machine->freeze_request = request;
  machine->freeze_until = now + kFreezeTime;
  check_freeze(*machine, now);
}

void MachineSet::check_freeze(Machine& machine, TimePoint now) {
  if (machine.freeze_until == kNever) return;
  const bool frozen = is_cgroup_frozen(machine.cgroup);
  if (!frozen && now < machine.freeze_until) return;
  if (!frozen) freeze_cgroup(machine.cgroup, false);
  machine.is_frozen = frozen;
  machine.freeze_until = kNever;
  if (const std::uint64_t request = std::exchange(machine.freeze_request, 0); request != 0)
    outbox_.reply(request, frozen ? Reply(Done{}) : Reply(failure(ETIMEDOUT, "freeze")));
}

Reply MachineSet::thaw(const Thaw& request) {
  Machine* machine = find(request.machine);
  if (machine == nullptr || machine->state == State::Ending) return no_such(request.machine);
  if (machine->cgroup.empty()) return Failed{.error = EOPNOTSUPP, .text = "no writable cgroup2"};
  if (!freeze_cgroup(machine->cgroup, false)) return failure(errno, "thaw");
  machine->is_frozen = false;
  machine->freeze_until = kNever;
  if (const std::uint64_t pending = std::exchange(machine->freeze_request, 0); pending != 0)
    outbox_.reply(pending, Failed{.error = ECANCELED, .text = "thawed meanwhile"});
  return Done{};
}

Reply MachineSet::list(const List& request) {
  Machines page;
  for (auto it = machines_.upper_bound(request.after); it != machines_.end(); ++it) {
    Machine& machine = it->second;
    if (machine.state == State::Ending || machine.state == State::Attaching || machine.failure)
      continue;
    if (page.machines.size() == kMachinesPerReply) {
      page.has_more = true;
      break;
    }
    drain(machine, false);
    page.machines.push_back(Alive{.machine = it->first,
                                  .fingerprint = machine.spawn.fingerprint,
                                  .process = describe(machine),
                                  .is_frozen = machine.is_frozen,
                                  .output_tail = std::exchange(machine.output_tail, {})});
  }
  return page;
}

void MachineSet::drain(Machine& machine, bool drained) {
  if (machine.is_drained == drained || !machine.child.output) return;
  machine.is_drained = drained;
  if (drained)
    poller_.watch(machine.child.output.get(), Source::Output, machine.serial);
  else
    poller_.forget(machine.child.output.get());
}

void MachineSet::on_output(std::uint64_t serial) {
  Machine* machine = find_serial(serial);
  if (machine == nullptr || !machine->is_drained) return;
  std::array<char, 64 * 1024> buffer;
  const ssize_t n = ::read(machine->child.output.get(), buffer.data(), buffer.size());
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return drain(*machine, false);
  std::string& tail = machine->output_tail;
  tail.append(buffer.data(), static_cast<std::size_t>(n));
  if (tail.size() > kOutputTailBytes) tail.erase(0, tail.size() - kOutputTailBytes);
}

bool MachineSet::on_exit(const siginfo_t& exit, TimePoint now) {
  read_births();
  const auto it = ids_by_pid_.find(exit.si_pid);
  Machine* machine = it == ids_by_pid_.end() ? nullptr : find(it->second);
  if (machine == nullptr) return false;
  ids_by_pid_.erase(it);
  if (exit.si_pid == machine->child.init) {  // with it end all of the machine
    machine->child.init = 0;
    state_.remove(exit.si_pid);
    return true;
  }
  if (exit.si_pid != machine->child.pid) return true;  // the setup process: its work is done
  if (machine->state == State::Starting) {
    on_report(machine->serial);
    if (machine->state == State::Starting) finish_start(*machine);
  }
  machine->state = State::Ending;
  machine->exit = Exited{.machine = machine->spawn.machine, .pid = exit.si_pid};
  (exit.si_code == CLD_EXITED ? machine->exit.code : machine->exit.signal) = exit.si_status;
  kill_everything(*machine);
  machine->give_up_at = now + kEndTime;
  machine->kill_at = kNever;
  return true;
}

std::optional<MachineSet::Inside> MachineSet::inside(const std::string& id) const {
  const auto it = machines_.find(id);
  if (it == machines_.end() || it->second.state != State::Running || it->second.failure)
    return std::nullopt;
  const Machine& machine = it->second;
  const Spawn& spawn = machine.spawn;
  return Inside{.cgroup = machine.cgroup,
                .invocation = machine.invocation,
                .init = machine.child.init,
                .is_frozen = machine.is_frozen || machine.freeze_until != kNever,
                .user = {.uid = spawn.uid, .gid = spawn.gid, .user = spawn.user}};
}

bool MachineSet::has_ended(Machine& machine, TimePoint now) {
  if (now >= machine.give_up_at) return true;
  if (machine.child.init > 0) return false;
  if (!machine.cgroup.empty()) return !is_cgroup_populated(machine.cgroup);
  std::erase_if(machine.remnants,
                [](const ProcessStat& one) { return !is_running(one.pid, one.start_time); });
  return machine.remnants.empty();
}

void MachineSet::tell_end(Machine& machine) {
  if (machine.freeze_request != 0)
    outbox_.reply(machine.freeze_request, no_such(machine.exit.machine));
  if (!machine.cgroup.empty()) {
    machine.exit.out_of_memory = has_cgroup_run_out_of_memory(machine.cgroup);
    remove_cgroup(machine.cgroup);
  }
  drain(machine, false);
  state_.remove(machine.child.pid);
  if (machine.child.init > 0) state_.remove(machine.child.init);
  // Nobody waits for the reply when the server that asked is gone; its successor may have listed
  // the machine.
  if (!machine.failure || machine.spawn_request == 0) return outbox_.event(machine.exit);
  const Spawn& spawn = machine.spawn;
  const ChildUser user{.uid = spawn.uid, .gid = spawn.gid, .user = spawn.user};
  outbox_.reply(machine.spawn_request,
                explain(*machine.failure, user, spawn.argv.front(), spawn.cwd));
}

void MachineSet::on_server_gone() {
  // Nobody has heard of them yet, and nobody waits for them any more.
  for (const std::uint64_t serial : attaching()) forget(*find_serial(serial));
  for (auto& [id, machine] : machines_) {
    machine.spawn_request = 0;
    machine.freeze_request = 0;
    drain(machine, true);
  }
}

TimePoint MachineSet::stop_all(TimePoint now) {
  TimePoint last = now;
  for (const std::uint64_t serial : attaching()) cancel(*find_serial(serial), ECANCELED);
  for (auto& [id, machine] : machines_) {
    if (machine.state == State::Ending || machine.child.pid <= 0) continue;
    if (!machine.cgroup.empty()) freeze_cgroup(machine.cgroup, false);
    ::kill(-machine.child.pid, machine.spawn.kill_signal);
    machine.kill_at = now + machine.spawn.kill_timeout;
    last = std::max(last, machine.kill_at);
  }
  return last;
}

void MachineSet::kill_all() {
  for (const std::uint64_t serial : attaching()) cancel(*find_serial(serial), ECANCELED);
  for (auto& [id, machine] : machines_) kill_everything(machine);
}

void MachineSet::advance(TimePoint now) {
  for (const std::uint64_t serial : attaching()) {
    Machine& machine = *find_serial(serial);
    if (now >= machine.give_up_at) cancel(machine, ETIMEDOUT);
  }
  for (auto it = machines_.begin(); it != machines_.end();) {
    Machine& machine = it->second;
    check_freeze(machine, now);
    if (machine.state == State::Starting && now >= machine.give_up_at) {
      kill_everything(machine);
      machine.failure = ChildReport{.error = ETIMEDOUT, .step = SpawnStep::Exec};
      machine.give_up_at = kNever;
    }
    if (now >= machine.kill_at) {
      kill_everything(machine);
      machine.kill_at = now + kEndTime;
    }
    if (machine.state != State::Ending || !has_ended(machine, now)) {
      ++it;
      continue;
    }
    tell_end(machine);
    ++it;
    forget(machine);
  }
}

TimePoint MachineSet::next_due(TimePoint now) const {
  TimePoint due = kNever;
  for (const auto& [id, machine] : machines_) {
    due = std::min({due, machine.give_up_at, machine.kill_at});
    if (machine.state == State::Ending || machine.freeze_until != kNever)
      due = std::min(due, now + kStep);
  }
  return due;
}

}  // namespace rooster::keeper
