// MachineSet's starts: the namespace from the hub, the process, its birth and its exec.
#include "keeper/machine_set.hpp"

#include <cerrno>
#include <utility>
#include <variant>

namespace rooster::keeper {
namespace {

using namespace std::chrono_literals;

constexpr auto kExecTime = 10s;  // a directory on a dead file server must not hold a start for ever
constexpr std::size_t kMaxMachines = 8192;

/// Machines of the node's own user could read its keys. Not where an operator has put the app
/// itself into the folder.
std::string hidden_from(const Spawn& spawn, const std::string& folder) {
  const auto lies_in = [&folder](const std::string& path) {
    return path == folder || path.starts_with(folder + '/');
  };
  const bool is_inside = lies_in(spawn.cwd) || lies_in(spawn.argv.front());
  return is_inside ? "" : folder;
}

}  // namespace

void MachineSet::spawn(std::uint64_t request, Spawn spawn, TimePoint now) {
  const auto refuse = [&](int error, const std::string& text) {
    outbox_.reply(
        request,
        SpawnFailed{.error = error, .step = SpawnStep::Prepare, .text = "prepare: " + text});
  };
  if (find(spawn.machine) != nullptr) return refuse(EEXIST, spawn.machine + " is already alive");
  if (machines_.size() >= kMaxMachines) return refuse(EAGAIN, "too many machines");
  const std::string id = spawn.machine;
  Machine& machine = machines_[id];
  machine.serial = next_serial_++;
  machine.spawn_request = request;
  machine.spawn = std::move(spawn);
  machine.give_up_at = now + kExecTime;
  ids_by_serial_[machine.serial] = id;
  if (machine.spawn.network)
    attach(machine);
  else
    start(machine, nullptr);
}

void MachineSet::attach(Machine& machine) {
  machine.state = State::Attaching;
  network_.attach({.machine = machine.spawn.machine,
                   .address = machine.spawn.network->address,
                   .address_v4 = machine.spawn.network->address_v4,
                   .wants_notify = machine.spawn.wants_notify},
                  [this, id = machine.spawn.machine, serial = machine.serial](Reply reply) {
                    const bool is_attached = std::holds_alternative<Attached>(reply);
                    const Machine* machine = find_serial(serial);
                    if (machine != nullptr) return on_attached(serial, std::move(reply));
                    // Given up meanwhile; another start of the same machine waits for its own.
                    if (is_attached) network_.detach(id);
                  });
}

void MachineSet::on_attached(std::uint64_t serial, Reply reply) {
  Machine& machine = *find_serial(serial);
  auto* attached = std::get_if<Attached>(&reply);
  if (attached == nullptr) {
    const auto* failed = std::get_if<Failed>(&reply);
    outbox_.reply(machine.spawn_request,
                  SpawnFailed{.error = failed != nullptr ? failed->error : EPROTO,
                              .step = SpawnStep::Namespaces,
                              .text = "namespaces: " + (failed != nullptr ? failed->text : "")});
    return forget(machine);
  }
  machine.place = MachinePlace{.address = machine.spawn.network->address,
                               .address_v4 = attached->address_v4,
                               .diag = std::move(attached->diag)};
  ChildPlace place{.namespaces = {.user = network_.user_namespace(),
                                  .network = attached->network.get(),
                                  .hosts = machine.spawn.network->hosts,
                                  .resolvers = machine.spawn.network->resolvers,
                                  .hidden = hidden_from(machine.spawn, context_.data_folder)},
                   .notify = std::move(attached->notify)};
  start(machine, &place);
}

/// A machine of which no process lives, and whose end is told.
void MachineSet::forget(Machine& machine) {
  if (machine.place) network_.detach(machine.spawn.machine);
  std::erase_if(ids_by_pid_, [&](const auto& one) { return one.second == machine.spawn.machine; });
  ids_by_serial_.erase(machine.serial);
  const std::string id = machine.spawn.machine;
  machines_.erase(id);
}

void MachineSet::start(Machine& machine, ChildPlace* place) {
  const Spawn& spawn = machine.spawn;
  machine.state = State::Starting;
  context_.cgroup = cgroups_.make(spawn.cgroup.empty() ? spawn.machine : spawn.cgroup);
  context_.invocation =
      context_.cgroup.empty() ? invocation_prefix_ + std::to_string(machine.serial) : "";
  auto child = start_child(spawn, context_, place);
  if (!child) {
    if (!context_.cgroup.empty()) remove_cgroup(context_.cgroup);
    outbox_.reply(machine.spawn_request, std::move(child.error()));
    return forget(machine);
  }
  machine.child = std::move(*child);
  machine.cgroup = context_.cgroup;
  machine.invocation = context_.invocation;
  const auto stat = read_stat(machine.child.pid);  // present even if it has died: we haven't reaped
  machine.start_time = stat ? stat->start_time : 0;
  state_.add({.pid = machine.child.pid,
              .start_time = machine.start_time,
              .invocation = machine.invocation});
  poller_.watch(machine.child.report.get(), Source::Report, machine.serial);
  ids_by_pid_[machine.child.pid] = spawn.machine;
  machine.spawn.env = {};
}

/// An attach that is not waited for any longer.
void MachineSet::cancel(Machine& machine, int error) {
  if (machine.spawn_request != 0)
    outbox_.reply(machine.spawn_request, explain({.error = error, .step = SpawnStep::Namespaces},
                                                 {}, machine.spawn.argv.front(), ""));
  forget(machine);
}

std::vector<std::uint64_t> MachineSet::attaching() const {
  std::vector<std::uint64_t> serials;
  for (const auto& [id, machine] : machines_)
    if (machine.state == State::Attaching) serials.push_back(machine.serial);
  return serials;
}

/// The setup process has made the machine's own: from now on they are what is watched.
void MachineSet::on_born(Machine& machine, const ChildReport& birth) {
  const auto note = [&](pid_t pid) {
    const auto stat = read_stat(pid);
    const std::uint64_t start_time = stat ? stat->start_time : 0;
    state_.add({.pid = pid, .start_time = start_time, .invocation = machine.invocation});
    ids_by_pid_[pid] = machine.spawn.machine;
    return start_time;
  };
  if (birth.init > 0) {
    machine.child.init = birth.init;
    note(birth.init);
  }
  if (birth.pid <= 0) return;
  state_.remove(machine.child.pid);
  machine.child.is_born = true;
  machine.child.pid = birth.pid;
  machine.start_time = note(birth.pid);
}

void MachineSet::on_report(std::uint64_t serial) {
  Machine* machine = find_serial(serial);
  if (machine == nullptr || machine->state != State::Starting) return;
  bool is_ended = false;
  while (const auto report = read_report(machine->child.report.get(), is_ended)) {
    if (report->error == 0) {
      on_born(*machine, *report);
      continue;
    }
    machine->failure = report;
    return finish_start(*machine);
  }
  if (is_ended) finish_start(*machine);
}

/// A process may end before its birth has been read.
void MachineSet::read_births() {
  std::vector<std::uint64_t> waiting;
  for (const auto& [id, machine] : machines_)
    if (machine.state == State::Starting && !machine.child.is_born)
      waiting.push_back(machine.serial);
  for (const std::uint64_t serial : waiting) on_report(serial);
}

void MachineSet::finish_start(Machine& machine) {
  poller_.forget(machine.child.report.get());
  machine.child.report.reset();
  machine.give_up_at = kNever;
  machine.state = State::Running;
  // A child that could not execute ends by itself; its end, which follows at once, tells why.
  if (machine.failure) return;
  if (machine.spawn_request != 0) outbox_.reply(machine.spawn_request, describe(machine));
  machine.spawn_request = 0;
}

}  // namespace rooster::keeper
