#include "keeper/exec_set.hpp"

#include "keeper/process_tree.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace rooster::keeper {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMaxCommands = 1024;
constexpr auto kExecTime = 10s;

Failed failure(int error, const std::string& what) {
  return Failed{.error = error, .text = what + ": " + std::system_category().message(error)};
}

/// A pty of that size; false with errno. The slave is opened by the kernel, not by its name, which
/// could mean something else in the machine.
bool open_terminal(const Exec& exec, Descriptor& ours, Descriptor& theirs) {
  ours = Descriptor(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  if (!ours || ::unlockpt(ours.get()) != 0) return false;
  theirs = Descriptor(::ioctl(ours.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  const winsize size = {
      .ws_row = exec.rows, .ws_col = exec.columns, .ws_xpixel = 0, .ws_ypixel = 0};
  return theirs && ::ioctl(ours.get(), TIOCSWINSZ, &size) == 0;
}

/// The child's ends of what it talks through.
struct Ends {
  Descriptor input, output, errors, terminal, report;
};

bool open_ends(const Exec& exec, Executed& ours, Descriptor& report, Ends& theirs) {
  if (!make_pipe(report, theirs.report, true)) return false;
  if (exec.wants_pty) return open_terminal(exec, ours.terminal, theirs.terminal);
  return make_pipe(ours.input, theirs.input, false) &&
         make_pipe(ours.output, theirs.output, true) && make_pipe(ours.errors, theirs.errors, true);
}

}  // namespace

ExecSet::ExecSet(Poller& poller, Outbox& outbox, const MachineSet& machines)
    : poller_(poller), outbox_(outbox), machines_(machines) {}

void ExecSet::run(std::uint64_t request, Exec exec, bool has_user_namespace, TimePoint now) {
  const auto refuse = [&](Failed failed) { outbox_.reply(request, std::move(failed)); };
  const auto inside = machines_.inside(exec.machine);
  if (!inside) return refuse({.error = ESRCH, .text = "machine " + exec.machine + " does not run"});
  if (inside->is_frozen)
    return refuse({.error = EBUSY, .text = "machine " + exec.machine + " is suspended"});
  if (commands_.size() >= kMaxCommands) return refuse(failure(EAGAIN, "exec"));
  if (exec.argv.empty() || exec.argv.front().empty()) return refuse(failure(EINVAL, "exec"));
  Command command;
  Ends ends;
  if (!open_ends(exec, command.executed, command.report, ends))
    return refuse(failure(errno, "pipes and terminals"));
  ChildPlan plan;
  plan.user = {.uid = exec.uid, .gid = exec.gid, .user = exec.user};
  if (!plan.user.is_given()) plan.user = inside->user;
  plan.changes_user = user_change(plan.user, machines_.context().own_user).is_needed;
  command.name = exec.argv.front();
  command.cwd = exec.cwd;
  command.user = plan.user;
  plan.argv = std::move(exec.argv);
  plan.environment = std::move(exec.env);
  plan.cwd = std::move(exec.cwd);
  plan.cgroup = inside->cgroup;
  plan.descriptors = machines_.context().descriptors;
  plan.keeper = ::getpid();
  plan.input = ends.input.get();
  plan.output = ends.output.get();
  plan.errors = ends.errors.get();
  plan.terminal = ends.terminal.get();
  plan.report = ends.report.get();
  if (!inside->invocation.empty())
    plan.environment.push_back(std::string(kInvocationVariable) + '=' + inside->invocation);
  command.request = request;
  command.is_born = inside->init == 0;
  command.give_up_at = now + kExecTime;
  command.pid = fork_child(plan);
  if (command.pid == 0 && inside->init != 0)
    join_namespaces(plan, inside->init, has_user_namespace);
  if (command.pid == 0) run_child(plan);
  if (command.pid < 0) return refuse(failure(errno, "fork"));
  const std::uint64_t serial = next_serial_++;
  poller_.watch(command.report.get(), Source::ExecReport, serial);
  commands_.emplace(serial, std::move(command));
}

void ExecSet::on_report(std::uint64_t serial) {
  const auto it = commands_.find(serial);
  if (it == commands_.end() || !it->second.report) return;
  Command& command = it->second;
  bool is_ended = false;
  while (const auto report = read_report(command.report.get(), is_ended)) {
    if (report->error != 0) {
      command.failure = report;
      is_ended = true;
      break;
    }
    command.is_born = true;
    command.pid = report->pid;
  }
  if (is_ended) finish_start(serial, command);
}

void ExecSet::finish_start(std::uint64_t serial, Command& command) {
  poller_.forget(command.report.get());
  command.report.reset();
  command.give_up_at = kNever;
  const std::uint64_t request = std::exchange(command.request, 0);
  if (request == 0) return;
  if (command.failure)
    return outbox_.reply(request,
                         explain(*command.failure, command.user, command.name, command.cwd));
  Executed executed = std::move(command.executed);
  executed.exec = serial;
  executed.pid = command.pid;
  executed.pidfd = Descriptor(static_cast<int>(::syscall(SYS_pidfd_open, command.pid, 0)));
  outbox_.reply(request, std::move(executed));
}

Reply ExecSet::signal(const ExecSignal& request) {
  const auto it = commands_.find(request.exec);
  if (it == commands_.end() || it->second.report)
    return Failed{.error = ESRCH, .text = "the command has ended"};
  if (::kill(-it->second.pid, request.signal) != 0) return failure(errno, "signal");
  return Done{};
}

bool ExecSet::on_exit(const siginfo_t& exit) {
  std::vector<std::uint64_t> unborn;
  for (const auto& [serial, command] : commands_)
    if (!command.is_born) unborn.push_back(serial);
  for (const std::uint64_t serial : unborn) on_report(serial);
  const auto it = std::ranges::find_if(
      commands_, [&](const auto& one) { return one.second.pid == exit.si_pid; });
  if (it == commands_.end()) return false;
  if (it->second.report) on_report(it->first);
  Command& command = it->second;
  if (command.report) {  // it said nothing at all: killed on its way
    command.failure = ChildReport{.error = ECHILD, .step = SpawnStep::Fork};
    finish_start(it->first, command);
  }
  if (!command.failure) {
    ExecExited event{.exec = it->first};
    (exit.si_code == CLD_EXITED ? event.code : event.signal) = exit.si_status;
    outbox_.event(event);
  }
  commands_.erase(it);
  return true;
}

void ExecSet::kill(const Command& command) const {
  if (command.pid <= 0) return;
  if (!command.report) ::kill(-command.pid, SIGKILL);
  ::kill(command.pid, SIGKILL);
}

void ExecSet::on_server_gone() {
  for (auto& [serial, command] : commands_) command.request = 0;
  kill_all();
}

void ExecSet::kill_all() {
  for (const auto& [serial, command] : commands_) kill(command);
}

void ExecSet::advance(TimePoint now) {
  for (auto& [serial, command] : commands_) {
    if (now < command.give_up_at) continue;
    command.give_up_at = kNever;
    kill(command);
  }
}

TimePoint ExecSet::next_due() const {
  TimePoint due = kNever;
  for (const auto& [serial, command] : commands_) due = std::min(due, command.give_up_at);
  return due;
}

}  // namespace rooster::keeper
