// Start-up of the keeper, in order: descriptors 0 to 2, signals, limits, lock and sweep, cgroup;
// then its loop.
#include "keeper/keeper.hpp"

#include "keeper/cgroup.hpp"
#include "keeper/process_tree.hpp"
#include "keeper/supervisor.hpp"
#include "keeper/sweep.hpp"

#include <array>
#include <csignal>
#include <cstdio>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace rooster::keeper {
namespace {

void say(const std::string& line) {
  const std::string text = "rooster: " + line + '\n';
  [[maybe_unused]] const ssize_t n = ::write(STDERR_FILENO, text.data(), text.size());
}

/// Descriptors 0 to 2 must be something, or a pipe would get such a number and be mistaken for it.
void fill_standard_descriptors() {
  int fd = 0;
  do {
    fd = ::open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) ::close(fd);
}

Descriptor take_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : {SIGCHLD, SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&set, signal);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGCHLD, SIG_DFL);  // inherited as ignored it would reap by itself
  return Descriptor(::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
}

/// Raises the soft limit to the hard one; returns what it was.
rlimit raise_descriptor_limit() {
  rlimit before = {};
  ::getrlimit(RLIMIT_NOFILE, &before);
  const rlimit raised = {.rlim_cur = before.rlim_max, .rlim_max = before.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &raised);
  return before;
}

}  // namespace

int run_keeper(KeeperOptions options) {
  fill_standard_descriptors();
  Descriptor signals = take_signals();
  const rlimit descriptors = raise_descriptor_limit();
  // Daemons that leave their machine become our children: seen, killed and reaped with it.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  auto state = StateFile::open(options.data_dir);
  if (!state) {
    say(state.error());
    return 1;
  }
  if (state->swept() > 0) say("killed what an earlier rooster left running");
  Cgroups cgroups = options.uses_cgroup ? Cgroups::find() : Cgroups();
  state->begin(cgroups.base());
  int exit_code = 1;
  if (signals) {
    Supervisor supervisor(options, std::move(signals), *state, cgroups, descriptors);
    exit_code = supervisor.run();
  }
  kill_children();
  cgroups.remove_base();
  state->clear();
  return exit_code;
}

}  // namespace rooster::keeper
