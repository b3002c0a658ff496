#include "keeper/child.hpp"

#include "keeper/process_tree.hpp"
#include "keeper/small_file.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <system_error>

#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

namespace rooster::keeper {
namespace {

constexpr rlim_t kMachineDescriptors =
    1024;  // the soft limit every program expects; it may raise it
constexpr std::string_view kDefaultPath = "/usr/local/bin:/usr/bin:/bin";
constexpr unsigned kStandardDescriptors = 3;

/// Everything the child reads: made before the fork, so that the child allocates nothing before its
/// user is resolved.
struct Plan {
  const Spawn* spawn = nullptr;
  const ChildContext* context = nullptr;
  std::vector<std::string> environment;
  std::vector<std::string> paths;  // what execve tries, in order
  std::vector<char*> argv, envp;
  bool changes_user = false;
  bool joins_cgroup_itself = false;
  pid_t keeper = 0;
  int output = -1, failure = -1;
};

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

bool wants_user(const Spawn& spawn) {
  return spawn.uid || !spawn.user.empty();
}

std::optional<uid_t> as_number(const std::string& text) {
  uid_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return number;
}

bool is_own_user(const Spawn& spawn, const std::string& own_name) {
  if (!wants_user(spawn)) return true;
  const std::optional<uid_t> number = spawn.uid ? spawn.uid : as_number(spawn.user);
  return number ? *number == ::geteuid() : spawn.user == own_name;
}

/// Step User: returns 0 or errno. Looks names up here, in the child: NSS may block, which the
/// keeper must not.
int become_user(const Spawn& spawn) {
  std::optional<uid_t> uid = spawn.uid ? spawn.uid : as_number(spawn.user);
  const passwd* entry = nullptr;
  if (!uid) {
    entry = ::getpwnam(spawn.user.c_str());
    if (entry == nullptr) return ESRCH;
    uid = entry->pw_uid;
  } else if (!spawn.uid) {
    entry = ::getpwuid(*uid);
  }
  const gid_t gid = spawn.gid.value_or(entry != nullptr ? entry->pw_gid : *uid);
  const int groups = entry != nullptr ? ::initgroups(entry->pw_name, gid) : ::setgroups(0, nullptr);
  if (groups != 0 || ::setresgid(gid, gid, gid) != 0 || ::setresuid(*uid, *uid, *uid) != 0)
    return errno;
  return 0;
}

[[noreturn]] void give_up(const Plan& plan, SpawnStep step, int error) {
  ChildFailure failure;
  std::memset(&failure, 0, sizeof failure);  // padding too: all its bytes are written
  failure.error = error;
  failure.step = step;
  // The pipe is empty and its reader outlives us or kills us: there is nothing to do about a failed
  // write.
  [[maybe_unused]] const ssize_t written = ::write(plan.failure, &failure, sizeof failure);
  ::_exit(127);
}

void set_stdio(const Plan& plan) {
  const int null = ::open("/dev/null", O_RDONLY);
  if (null < 0 || ::dup2(null, STDIN_FILENO) < 0 || ::dup2(plan.output, STDOUT_FILENO) < 0 ||
      ::dup2(plan.output, STDERR_FILENO) < 0)
    give_up(plan, SpawnStep::Stdio, errno);
  // At exec only: the failure pipe must live until then.
  if (::close_range(kStandardDescriptors, ~0U, CLOSE_RANGE_CLOEXEC) != 0)
    give_up(plan, SpawnStep::Stdio, errno);
}

void set_limits(const Plan& plan) {
  const rlimit files = {
      .rlim_cur = std::min(kMachineDescriptors, plan.context->descriptors.rlim_max),
      .rlim_max = plan.context->descriptors.rlim_max};
  if (::setrlimit(RLIMIT_NOFILE, &files) != 0) give_up(plan, SpawnStep::Limits, errno);
  rlimit core = {};
  if (::getrlimit(RLIMIT_CORE, &core) != 0) give_up(plan, SpawnStep::Limits, errno);
  core.rlim_cur = 0;
  if (::setrlimit(RLIMIT_CORE, &core) != 0) give_up(plan, SpawnStep::Limits, errno);
}

void set_privileges(const Plan& plan) {
  // After the change of user, which clears the death signal (prctl(2)).
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
    give_up(plan, SpawnStep::Privileges, errno);
  if (::getppid() != plan.keeper) ::_exit(127);  // it died before the signal was set
}

[[noreturn]] void execute(const Plan& plan) {
  int error = ENOENT;
  for (const std::string& path : plan.paths) {
    ::execve(path.c_str(), plan.argv.data(), plan.envp.data());
    // As execvp(3): a file that may not be executed is remembered, but another directory may have a
    // better one.
    if (errno == EACCES) error = EACCES;
    if (errno != ENOENT && errno != ENOTDIR && errno != EACCES)
      give_up(plan, SpawnStep::Exec, errno);
  }
  give_up(plan, SpawnStep::Exec, error);
}

[[noreturn]] void run_child(const Plan& plan) {
  reset_signals();
  if (::setsid() < 0) give_up(plan, SpawnStep::Session, errno);
  set_stdio(plan);
  if (plan.joins_cgroup_itself && !write_small_file(plan.context->cgroup + "/cgroup.procs", "0"))
    give_up(plan, SpawnStep::Cgroup, errno);
  ::umask(022);
  set_limits(plan);
  if (plan.changes_user) {
    if (const int error = become_user(*plan.spawn); error != 0)
      give_up(plan, SpawnStep::User, error);
  }
  const std::string& cwd = plan.spawn->cwd;
  if (::chdir(cwd.empty() ? "/" : cwd.c_str()) != 0) give_up(plan, SpawnStep::Directory, errno);
  set_privileges(plan);
  execute(plan);
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

/// An abstract name of the kernel's choice: no file whose owner or directory could be wrong.
Descriptor make_notify_socket(std::string& name) {
  Descriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  socklen_t size = sizeof address.sun_family;
  const int on = 1;
  if (!socket || ::setsockopt(socket.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0 ||
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0)
    return {};
  size = sizeof address;
  if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
  name = '@';
  name.append(&address.sun_path[1], size - offsetof(sockaddr_un, sun_path) - 1);
  return socket;
}

bool make_pipe(Descriptor& reading, Descriptor& writing) {
  std::array<int, 2> ends = {-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return false;
  reading = Descriptor(ends[0]);
  writing = Descriptor(ends[1]);
  // Only our end: the machine's must block, as every program expects of its output.
  return ::fcntl(reading.get(), F_SETFL, O_NONBLOCK) == 0;
}

SpawnFailed failed(SpawnStep step, int error) {
  return SpawnFailed{
      .error = error,
      .step = step,
      .text = std::string(to_string(step)) + ": " + std::system_category().message(error)};
}

pid_t fork_child(Plan& plan) {
  pid_t pid = -1;
  if (!plan.context->cgroup.empty()) {
    pid = fork_into(plan.context->cgroup);
    plan.joins_cgroup_itself = pid < 0;  // no clone3, or a filter forbids it
  }
  if (pid < 0) pid = ::fork();
  if (pid == 0) run_child(plan);
  return pid;
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

std::expected<Child, SpawnFailed> start_child(const Spawn& spawn, const ChildContext& context) {
  if (spawn.argv.empty() || spawn.argv.front().empty())
    return std::unexpected(failed(SpawnStep::Prepare, EINVAL));
  Child child;
  Plan plan;
  plan.spawn = &spawn;
  plan.context = &context;
  plan.environment = spawn.env;
  if (spawn.wants_notify) {
    std::string name;
    child.notify = make_notify_socket(name);
    if (!child.notify) return std::unexpected(failed(SpawnStep::Prepare, errno));
    plan.environment.push_back("NOTIFY_SOCKET=" + name);
  }
  if (context.cgroup.empty() && !context.invocation.empty())
    plan.environment.push_back(std::string(kInvocationVariable) + '=' + context.invocation);
  Descriptor output, failure;
  if (!make_pipe(child.output, output) || !make_pipe(child.failure_pipe, failure))
    return std::unexpected(failed(SpawnStep::Prepare, errno));
  child.user_applied = ::geteuid() == 0 || is_own_user(spawn, context.own_user);
  plan.changes_user = ::geteuid() == 0 && wants_user(spawn);
  plan.paths = candidates(spawn.argv.front(), plan.environment);
  plan.argv = pointers_to(spawn.argv);
  plan.envp = pointers_to(plan.environment);
  plan.keeper = ::getpid();
  plan.output = output.get();
  plan.failure = failure.get();
  child.pid = fork_child(plan);
  if (child.pid < 0) return std::unexpected(failed(SpawnStep::Fork, errno));
  return child;
}

std::optional<ChildFailure> read_failure(int failure_pipe) {
  ChildFailure failure;
  if (::read(failure_pipe, &failure, sizeof failure) != sizeof failure) return std::nullopt;
  return failure;
}

SpawnFailed explain(const ChildFailure& failure, const Spawn& spawn) {
  std::string subject;
  if (failure.step == SpawnStep::Exec) subject = ' ' + spawn.argv.front();
  if (failure.step == SpawnStep::Directory) subject = ' ' + spawn.cwd;
  if (failure.step == SpawnStep::User)
    subject = ' ' + (spawn.uid ? std::to_string(*spawn.uid) : spawn.user);
  const bool no_user = failure.step == SpawnStep::User && failure.error == ESRCH;
  return SpawnFailed{
      .error = failure.error,
      .step = failure.step,
      .text = std::string(to_string(failure.step)) + subject + ": " +
              (no_user ? "no such user" : std::system_category().message(failure.error))};
}

}  // namespace rooster::keeper
