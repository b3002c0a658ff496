#include "keeper/cgroup.hpp"

#include "keeper/process_tree.hpp"
#include "keeper/small_file.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <filesystem>
#include <sstream>

#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

namespace rooster::keeper {
namespace {

constexpr std::size_t kMaxCgroupNameBytes = 128;

/// Where cgroup2 is mounted (proc(5), mountinfo: "... <mount point> <options> ... - cgroup2 ...").
std::string mount_point() {
  std::istringstream lines(read_small_file("/proc/self/mountinfo", 1024 * 1024).value_or(""));
  for (std::string line; std::getline(lines, line);) {
    if (line.find(" - cgroup2 ") == std::string::npos) continue;
    std::istringstream words(line);
    std::string word;
    for (int i = 0; i < 5; ++i) words >> word;
    return word;
  }
  return {};
}

/// This process's place in it: the line "0::/path" of /proc/self/cgroup.
std::string own_path() {
  std::istringstream lines(read_small_file("/proc/self/cgroup").value_or(""));
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("0::/")) return line.size() == 4 ? "" : line.substr(3);
  return {};
}

bool may_enter(const std::string& cgroup) {
  const pid_t pid = ::fork();
  if (pid < 0) return false;
  if (pid == 0) ::_exit(write_small_file(cgroup + "/cgroup.procs", "0") ? 0 : 1);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool has_line(const std::string& cgroup, const char* file, std::string_view wanted) {
  std::istringstream lines(read_small_file(cgroup + file).value_or(""));
  for (std::string line; std::getline(lines, line);)
    if (line == wanted) return true;
  return false;
}

}  // namespace

Cgroups Cgroups::find() {
  Cgroups found;
  const std::string mount = mount_point();
  const auto self = read_stat(::getpid());
  if (mount.empty() || !self) return found;
  const std::string name =
      "/rooster-" + std::to_string(self->pid) + '-' + std::to_string(self->start_time);
  for (const std::string& parent : {mount + own_path(), mount}) {
    const std::string base = parent + name;
    if (::mkdir(base.c_str(), 0755) != 0 && errno != EEXIST) continue;
    if (may_enter(base) && ::access((base + "/cgroup.freeze").c_str(), W_OK) == 0) {
      found.base_ = base;
      return found;
    }
    ::rmdir(base.c_str());
  }
  return found;
}

std::string Cgroups::make(std::string_view name) {
  if (!is_usable()) return {};
  std::string leaf(name.substr(0, kMaxCgroupNameBytes));
  std::ranges::replace_if(
      leaf, [](char c) { return std::string_view("/.\n ").find(c) != std::string_view::npos; },
      '_');
  // The number keeps a new start apart from an old one that isn't removed yet.
  const std::string path = base_ + '/' + leaf + '.' + std::to_string(++serial_);
  return ::mkdir(path.c_str(), 0755) == 0 ? path : std::string();
}

void Cgroups::remove_base() {
  if (is_usable()) remove_cgroup(base_);
}

void kill_cgroup(const std::string& cgroup) {
  if (write_small_file(cgroup + "/cgroup.kill", "1")) return;
  // Before Linux 5.14: one by one, frozen so that nothing forks meanwhile (SIGKILL reaches the
  // frozen).
  freeze_cgroup(cgroup, true);
  std::istringstream lines(read_small_file(cgroup + "/cgroup.procs", 1024 * 1024).value_or(""));
  for (pid_t pid = 0; lines >> pid;)
    if (pid > 0) ::kill(pid, SIGKILL);
  freeze_cgroup(cgroup, false);
  std::error_code error;
  for (std::filesystem::directory_iterator it(cgroup, error), end; !error && it != end;
       it.increment(error))
    if (it->is_directory(error) && !it->is_symlink(error)) kill_cgroup(it->path().string());
}

bool freeze_cgroup(const std::string& cgroup, bool frozen) {
  return write_small_file(cgroup + "/cgroup.freeze", frozen ? "1" : "0");
}

bool is_cgroup_frozen(const std::string& cgroup) {
  return has_line(cgroup, "/cgroup.events", "frozen 1");
}

bool is_cgroup_populated(const std::string& cgroup) {
  return has_line(cgroup, "/cgroup.events", "populated 1");
}

bool has_cgroup_run_out_of_memory(const std::string& cgroup) {
  std::istringstream words(read_small_file(cgroup + "/memory.events").value_or(""));
  std::string key;
  for (unsigned long count = 0; words >> key >> count;)
    if (key == "oom_kill" && count > 0) return true;
  return false;
}

bool remove_cgroup(const std::string& cgroup) {
  std::error_code error;
  for (std::filesystem::directory_iterator it(cgroup, error), end; !error && it != end;
       it.increment(error))
    if (it->is_directory(error) && !it->is_symlink(error)) remove_cgroup(it->path().string());
  return ::rmdir(cgroup.c_str()) == 0 || errno == ENOENT;
}

}  // namespace rooster::keeper
