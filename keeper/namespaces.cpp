#include "keeper/namespaces.hpp"

#include "keeper/small_file.hpp"

#include <climits>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <system_error>

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace rooster::keeper {
namespace {

// Services that would answer names past /etc/resolv.conf.
constexpr std::array kHidden = {"/run/systemd/resolve", "/run/nscd"};
// Covered for a moment only: every system has it.
constexpr const char* kScratch = "/proc";

int open_process(pid_t pid) {
  return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
}

/// A child of the keeper, not of this process.
pid_t fork_sibling() {
  clone_args arguments = {};
  arguments.flags = CLONE_PARENT;
  return static_cast<pid_t>(::syscall(SYS_clone3, &arguments, sizeof arguments));
}

// ---- mounts; each returns 0 or errno

std::string resolved(const char* path) {
  std::array<char, PATH_MAX> buffer = {};
  return ::realpath(path, buffer.data()) != nullptr ? std::string(buffer.data()) : std::string();
}

int write_new_file(const std::string& path, const std::string& text) {
  const Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file) return errno;
  return ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0
                                                                                            : EIO;
}

/// `path` reads as `text` in this mount namespace.
int cover_file(const std::string& path, const std::string& text) {
  if (path.empty() || text.empty()) return 0;
  // Hidden with its directory: the new directory is empty and ours.
  if (::access(path.c_str(), F_OK) != 0) return write_new_file(path, text);
  if (::mount("rooster", kScratch, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755") != 0) return errno;
  const std::string source = std::string(kScratch) + "/file";
  int error = write_new_file(source, text);
  if (error == 0 && ::mount(source.c_str(), path.c_str(), nullptr, MS_BIND, nullptr) != 0)
    error = errno;
  if (::umount2(kScratch, MNT_DETACH) != 0 && error == 0) error = errno;
  return error;
}

int set_mounts(const NamespacePlan& plan) {
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return errno;
  // Before their directories are hidden: they may be links into those.
  const std::string resolvers = resolved("/etc/resolv.conf"), hosts = resolved("/etc/hosts");
  if (!plan.resolvers.empty()) {
    for (const char* directory : kHidden) {
      struct stat about = {};
      if (::stat(directory, &about) != 0) continue;
      if (::mount("rooster", directory, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755") != 0)
        return errno;
    }
  }
  if (const int error = cover_file(resolvers, plan.resolvers); error != 0) return error;
  if (const int error = cover_file(hosts, plan.hosts); error != 0) return error;
  if (plan.hidden.empty()) return 0;
  const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY;
  return ::mount("rooster", plan.hidden.c_str(), "tmpfs", flags, "mode=000") == 0 ? 0 : errno;
}

// ---- init

/// Process 1 of the namespace. Its end is everybody's; nothing but SIGKILL from outside ends it.
[[noreturn]] void run_init(const ChildPlan& plan, int started) {
  ::prctl(PR_SET_NAME, "rooster-init");
  begin_child(plan);
  ::setsid();
  // Where parts of the old /proc are hidden the kernel refuses a new one: the old one stays, and
  // shows the node's processes.
  ::mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr);
  // Orphans that end are forgotten by the kernel itself.
  ::signal(SIGCHLD, SIG_IGN);
  const char byte = '+';
  [[maybe_unused]] const ssize_t written = ::write(started, &byte, 1);
  ::close_range(0, ~0U, 0);
  while (true) ::pause();
}

void start_init(const ChildPlan& plan) {
  Descriptor started, theirs;
  if (!make_pipe(started, theirs, true)) give_up(plan, SpawnStep::Fork, errno);
  ::fcntl(started.get(), F_SETFL, 0);
  const pid_t init = fork_sibling();
  if (init == 0) run_init(plan, theirs.get());
  if (init < 0) give_up(plan, SpawnStep::Fork, errno);
  write_report(plan.report, {.init = init});
  theirs.reset();
  char byte = 0;
  if (::read(started.get(), &byte, 1) != 1) give_up(plan, SpawnStep::Fork, ECHILD);
}

/// The command as the keeper's child; it begins once the keeper has been told of it.
[[noreturn]] void start_command(const ChildPlan& plan) {
  Descriptor waiting, told;
  if (!make_pipe(waiting, told, true)) give_up(plan, SpawnStep::Fork, errno);
  ::fcntl(waiting.get(), F_SETFL, 0);
  const pid_t pid = fork_sibling();
  if (pid < 0) give_up(plan, SpawnStep::Fork, errno);
  if (pid == 0) {
    told.reset();
    char byte = 0;
    [[maybe_unused]] const ssize_t got = ::read(waiting.get(), &byte, 1);
    run_child(plan);
  }
  write_report(plan.report, {.pid = pid});
  ::_exit(0);
}

/// From here on the plan is for a process that sees the keeper as no process at all.
void begin_setup(ChildPlan& plan) {
  begin_child(plan);
  plan.joins_cgroup_itself = false;
  plan.in_namespaces = true;
  plan.lifeline = open_process(plan.keeper);
  // A keeper with rights from its file is not: then its own namespaces would be closed to it.
  ::prctl(PR_SET_DUMPABLE, 1);
}

}  // namespace

void set_up_namespaces(ChildPlan& plan, const NamespacePlan& namespaces) {
  begin_setup(plan);
  if (namespaces.user >= 0 && ::setns(namespaces.user, CLONE_NEWUSER) != 0)
    give_up(plan, SpawnStep::Namespaces, errno);
  if (::setns(namespaces.network, CLONE_NEWNET) != 0 || ::unshare(CLONE_NEWNS | CLONE_NEWPID) != 0)
    give_up(plan, SpawnStep::Namespaces, errno);
  if (const int error = set_mounts(namespaces); error != 0) give_up(plan, SpawnStep::Mounts, error);
  start_init(plan);
  start_command(plan);
}

void join_namespaces(ChildPlan& plan, pid_t init, bool has_user) {
  begin_setup(plan);
  const Descriptor target(open_process(init));
  const int all = CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | (has_user ? CLONE_NEWUSER : 0);
  if (!target || ::setns(target.get(), all) != 0) give_up(plan, SpawnStep::Namespaces, errno);
  start_command(plan);
}

namespace {

/// In a child: 0, or errno.
int try_namespaces() {
  const bool is_root = ::geteuid() == 0;
  const int all = CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID;
  const uid_t user = ::geteuid();
  ::prctl(PR_SET_DUMPABLE, 1);
  if (::unshare(all | (is_root ? 0 : CLONE_NEWUSER)) != 0) return errno;
  const std::string map = std::to_string(user) + ' ' + std::to_string(user) + " 1";
  if (!is_root && !write_small_file("/proc/self/uid_map", map)) return errno;
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return errno;
  // A kernel may give the namespaces without the rights in them.
  if (::mount("rooster", kScratch, "tmpfs", 0, nullptr) != 0) return errno;
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(0);
  return pid < 0 || ::waitpid(pid, nullptr, 0) != pid ? errno : 0;
}

}  // namespace

std::string find_namespace_obstacle() {
  const pid_t pid = ::fork();
  if (pid < 0) return "fork: " + std::system_category().message(errno);
  if (pid == 0) ::_exit(try_namespaces());
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  const int error = WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
  if (error == 0) return {};
  const std::string reason = std::system_category().message(error);
  return ::geteuid() == 0 ? "namespaces are forbidden here, though this is root: " + reason
                          : "user namespaces are forbidden here: " + reason;
}

}  // namespace rooster::keeper
