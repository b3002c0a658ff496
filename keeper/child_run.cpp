#include "keeper/child_run.hpp"

#include "keeper/small_file.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <poll.h>
#include <pwd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace rooster::keeper {
namespace {

constexpr rlim_t kMachineDescriptors =
    1024;  // the soft limit every program expects; it may raise it
constexpr std::string_view kDefaultPath = "/usr/local/bin:/usr/bin:/bin";
constexpr unsigned kStandardDescriptors = 3;

// What root keeps in namespaces of its own: it may rule over its files and processes, not over the
// network, the mounts or the kernel.
constexpr std::array kRootKeeps = {CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_FOWNER,
                                   CAP_FSETID, CAP_KILL,         CAP_SETGID,
                                   CAP_SETUID, CAP_SETPCAP,      CAP_NET_BIND_SERVICE};

std::vector<char*> pointers_to(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

/// Where `command` may lie, by PATH of its own environment, as execvp(3) looks.
std::vector<std::string> candidates(const std::string& command,
                                    const std::vector<std::string>& environment) {
  if (command.find('/') != std::string::npos) return {command};
  std::string_view path = kDefaultPath;
  for (const std::string& entry : environment)
    if (entry.starts_with("PATH=")) path = std::string_view(entry).substr(5);
  std::vector<std::string> found;
  while (true) {
    const std::size_t end = path.find(':');
    const std::string directory(path.substr(0, end));
    found.push_back((directory.empty() ? "." : directory) + '/' + command);
    if (end == std::string_view::npos) return found;
    path.remove_prefix(end + 1);
  }
}

std::optional<uid_t> as_number(const std::string& text) {
  uid_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return number;
}

/// Step User: returns 0 or errno. Looks names up here, in the child: NSS may block, which the
/// keeper must not.
int become_user(const ChildPlan& plan) {
  const ChildUser& wanted = plan.user;
  std::optional<uid_t> uid = wanted.uid ? wanted.uid : as_number(wanted.user);
  const passwd* entry = nullptr;
  if (!uid) {
    entry = ::getpwnam(wanted.user.c_str());
    if (entry == nullptr) return ESRCH;
    uid = entry->pw_uid;
  } else if (!wanted.uid) {
    entry = ::getpwuid(*uid);
  }
  const gid_t gid = wanted.gid.value_or(entry != nullptr ? entry->pw_gid : *uid);
  if (plan.terminal >= 0) ::fchown(plan.terminal, *uid, static_cast<gid_t>(-1));
  const int groups = entry != nullptr ? ::initgroups(entry->pw_name, gid) : ::setgroups(0, nullptr);
  if (groups != 0 || ::setresgid(gid, gid, gid) != 0 || ::setresuid(*uid, *uid, *uid) != 0)
    return errno;
  return 0;
}

void set_stdio(const ChildPlan& plan) {
  int input = plan.terminal, output = plan.terminal, errors = plan.terminal;
  if (plan.terminal >= 0) {
    if (::ioctl(plan.terminal, TIOCSCTTY, 0) != 0) give_up(plan, SpawnStep::Stdio, errno);
  } else {
    input = plan.input >= 0 ? plan.input : ::open("/dev/null", O_RDONLY);
    output = plan.output;
    errors = plan.errors >= 0 ? plan.errors : plan.output;
  }
  if (input < 0 || ::dup2(input, STDIN_FILENO) < 0 || ::dup2(output, STDOUT_FILENO) < 0 ||
      ::dup2(errors, STDERR_FILENO) < 0)
    give_up(plan, SpawnStep::Stdio, errno);
  // At exec only: the report pipe must live until then.
  if (::close_range(kStandardDescriptors, ~0U, CLOSE_RANGE_CLOEXEC) != 0)
    give_up(plan, SpawnStep::Stdio, errno);
}

void set_limits(const ChildPlan& plan) {
  const rlimit files = {.rlim_cur = std::min(kMachineDescriptors, plan.descriptors.rlim_max),
                        .rlim_max = plan.descriptors.rlim_max};
  if (::setrlimit(RLIMIT_NOFILE, &files) != 0) give_up(plan, SpawnStep::Limits, errno);
  rlimit core = {};
  if (::getrlimit(RLIMIT_CORE, &core) != 0) give_up(plan, SpawnStep::Limits, errno);
  core.rlim_cur = 0;
  if (::setrlimit(RLIMIT_CORE, &core) != 0) give_up(plan, SpawnStep::Limits, errno);
}

bool is_keeper_alive(const ChildPlan& plan) {
  if (plan.lifeline < 0) return ::getppid() == plan.keeper;
  pollfd watch = {.fd = plan.lifeline, .events = POLLIN, .revents = 0};
  return ::poll(&watch, 1, 0) == 0;
}

/// Bounds what any later exec can gain. Before the change of user, which takes the right to.
void drop_capabilities() {
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  for (int capability = 0; ::prctl(PR_CAPBSET_READ, capability) >= 0; ++capability)
    if (std::ranges::find(kRootKeeps, capability) == kRootKeeps.end())
      ::prctl(PR_CAPBSET_DROP, capability);
}

void end_with_keeper(const ChildPlan& plan) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (!is_keeper_alive(plan)) ::_exit(127);  // it died before the signal was set
}

void set_privileges(const ChildPlan& plan) {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) give_up(plan, SpawnStep::Privileges, errno);
  end_with_keeper(plan);  // after the change of user, which clears the death signal (prctl(2))
}

[[noreturn]] void execute(const ChildPlan& plan) {
  const std::vector<std::string> paths = candidates(plan.argv.front(), plan.environment);
  const std::vector<char*> argv = pointers_to(plan.argv), envp = pointers_to(plan.environment);
  int error = ENOENT;
  for (const std::string& path : paths) {
    ::execve(path.c_str(), argv.data(), envp.data());
    // As execvp(3): a file that may not be executed is remembered, but another directory may have a
    // better one.
    if (errno == EACCES) error = EACCES;
    if (errno != ENOENT && errno != ENOTDIR && errno != EACCES)
      give_up(plan, SpawnStep::Exec, errno);
  }
  give_up(plan, SpawnStep::Exec, error);
}

/// Born in the cgroup: entering it later costs a wait for every CPU [measured: up to 20 ms].
pid_t fork_into(const std::string& cgroup) {
  const Descriptor directory(::open(cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return -1;
  clone_args arguments = {};
  arguments.flags = CLONE_INTO_CGROUP;
  arguments.exit_signal = SIGCHLD;
  arguments.cgroup = static_cast<std::uint64_t>(directory.get());
  return static_cast<pid_t>(::syscall(SYS_clone3, &arguments, sizeof arguments));
}

}  // namespace

void reset_signals() {
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) ::sigaction(signal, &action, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

bool make_pipe(Descriptor& ours, Descriptor& theirs, bool ours_reads) {
  std::array<int, 2> ends = {-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return false;
  ours = Descriptor(ends[ours_reads ? 0 : 1]);
  theirs = Descriptor(ends[ours_reads ? 1 : 0]);
  // Only our end: the command's must block, as every program expects of its output.
  return ::fcntl(ours.get(), F_SETFL, O_NONBLOCK) == 0;
}

void write_report(int report, const ChildReport& content) {
  ChildReport bytes;
  std::memset(&bytes, 0, sizeof bytes);  // padding too: all its bytes are written
  bytes.error = content.error;
  bytes.step = content.step;
  bytes.pid = content.pid;
  bytes.init = content.init;
  // The pipe has room and its reader outlives us or kills us: there is nothing to do about a failed
  // write.
  [[maybe_unused]] const ssize_t written = ::write(report, &bytes, sizeof bytes);
}

std::optional<ChildReport> read_report(int report, bool& is_ended) {
  ChildReport content;
  const ssize_t got = ::read(report, &content, sizeof content);
  is_ended = got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
  if (got != sizeof content) return std::nullopt;
  return content;
}

void give_up(const ChildPlan& plan, SpawnStep step, int error) {
  write_report(plan.report, {.error = error, .step = step});
  ::_exit(127);
}

pid_t fork_child(ChildPlan& plan) {
  pid_t pid = -1;
  if (!plan.cgroup.empty()) {
    pid = fork_into(plan.cgroup);
    plan.joins_cgroup_itself = pid < 0;  // no clone3, or a filter forbids it
  }
  if (pid < 0) pid = ::fork();
  return pid;
}

void begin_child(const ChildPlan& plan) {
  reset_signals();
  if (plan.joins_cgroup_itself && !write_small_file(plan.cgroup + "/cgroup.procs", "0"))
    give_up(plan, SpawnStep::Cgroup, errno);
  end_with_keeper(plan);
}

void run_child(const ChildPlan& plan) {
  begin_child(plan);
  if (::setsid() < 0) give_up(plan, SpawnStep::Session, errno);
  set_stdio(plan);
  ::umask(022);
  set_limits(plan);
  if (plan.in_namespaces) drop_capabilities();
  if (plan.changes_user) {
    if (const int error = become_user(plan); error != 0) give_up(plan, SpawnStep::User, error);
  }
  if (::chdir(plan.cwd.empty() ? "/" : plan.cwd.c_str()) != 0)
    give_up(plan, SpawnStep::Directory, errno);
  set_privileges(plan);
  execute(plan);
}

}  // namespace rooster::keeper
