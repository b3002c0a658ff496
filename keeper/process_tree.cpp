#include "keeper/process_tree.hpp"

#include "keeper/small_file.hpp"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <unordered_set>

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

namespace rooster::keeper {
namespace {

// A process that forks while it is being killed is found in the next round; a killed one can't
// fork.
constexpr int kKillRounds = 16;
constexpr std::size_t kMaxEnvironBytes = 256 * 1024;

std::vector<ProcessStat> all_processes() {
  std::vector<ProcessStat> processes;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir("/proc"), ::closedir);
  if (!directory) return processes;
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string_view name(entry->d_name);
    pid_t pid = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (parsed.ec != std::errc() || parsed.ptr != name.data() + name.size()) continue;
    if (auto stat = read_stat(pid); stat && stat->state != 'Z' && stat->state != 'X')
      processes.push_back(*stat);
  }
  return processes;
}

bool has_mark(pid_t pid, const std::string& invocation) {
  if (invocation.empty()) return false;
  const auto environment =
      read_small_file("/proc/" + std::to_string(pid) + "/environ", kMaxEnvironBytes);
  if (!environment) return false;
  std::string mark = '\0' + std::string(kInvocationVariable) + '=' + invocation;
  mark.push_back('\0');
  return ('\0' + *environment).find(mark) != std::string::npos;
}

}  // namespace

std::optional<ProcessStat> read_stat(pid_t pid) {
  const auto text = read_small_file("/proc/" + std::to_string(pid) + "/stat", 4096);
  if (!text) return std::nullopt;
  // The name stands in brackets and may hold anything, brackets too: the fields begin after the
  // last one.
  const std::size_t end_of_name = text->rfind(')');
  if (end_of_name == std::string::npos) return std::nullopt;
  ProcessStat stat;
  unsigned long long start = 0;
  const int found =
      std::sscanf(text->c_str() + end_of_name + 1,
                  " %c %d %d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                  &stat.state, &stat.parent, &stat.group, &stat.session, &start);
  if (found != 5) return std::nullopt;
  stat.pid = pid;
  stat.start_time = start;
  return stat;
}

bool is_running(pid_t pid, std::uint64_t start_time) {
  const auto stat = read_stat(pid);
  return stat && stat->start_time == start_time && stat->state != 'Z' && stat->state != 'X';
}

std::vector<ProcessStat> members_of(pid_t leader, std::uint64_t start_time,
                                    const std::string& invocation) {
  const std::vector<ProcessStat> processes = all_processes();
  std::unordered_set<pid_t> tree = {leader};
  // A number in use as group or session isn't given to a new process; but once all are gone it is.
  const auto now_leader = read_stat(leader);
  const bool reused = now_leader && now_leader->start_time != start_time;
  if (reused) tree.clear();
  const auto belongs = [&](const ProcessStat& one) {
    if (one.start_time < start_time) return false;
    if (!reused && (one.group == leader || one.session == leader)) return true;
    return tree.contains(one.pid) || tree.contains(one.parent) || has_mark(one.pid, invocation);
  };
  std::vector<ProcessStat> members;
  // Parents needn't come before their children in /proc: repeat until nothing is added.
  for (bool grew = true; grew;) {
    grew = false;
    for (const ProcessStat& one : processes) {
      if (one.pid == ::getpid()) continue;
      const bool known =
          std::ranges::any_of(members, [&](const ProcessStat& m) { return m.pid == one.pid; });
      if (known || !belongs(one)) continue;
      members.push_back(one);
      tree.insert(one.pid);
      grew = true;
    }
  }
  return members;
}

std::string invocation_of(pid_t pid) {
  const auto environment =
      read_small_file("/proc/" + std::to_string(pid) + "/environ", kMaxEnvironBytes);
  if (!environment) return {};
  const std::string name = '\0' + std::string(kInvocationVariable) + '=';
  const std::string all = '\0' + *environment;
  const std::size_t found = all.find(name);
  if (found == std::string::npos) return {};
  const std::size_t begin = found + name.size();
  return all.substr(begin, all.find('\0', begin) - begin);
}

std::vector<ProcessStat> kill_members(pid_t leader, std::uint64_t start_time,
                                      const std::string& invocation) {
  std::vector<ProcessStat> killed;
  std::unordered_set<pid_t> seen;
  for (int round = 0; round < kKillRounds; ++round) {
    bool found_new = false;
    for (const ProcessStat& one : members_of(leader, start_time, invocation)) {
      if (!seen.insert(one.pid).second) continue;
      ::kill(one.pid, SIGKILL);
      killed.push_back(one);
      found_new = true;
    }
    if (!found_new) break;
  }
  return killed;
}

void kill_children() {
  for (const ProcessStat& one : all_processes())
    if (one.parent == ::getpid()) ::kill(one.pid, SIGKILL);
}

}  // namespace rooster::keeper
