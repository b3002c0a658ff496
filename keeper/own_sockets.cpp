#include "keeper/own_sockets.hpp"

#include "keeper/process_tree.hpp"
#include "keeper/small_file.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>

#include <unistd.h>

namespace rooster::keeper {

namespace {

constexpr std::size_t kMaxProcesses = 512;
constexpr std::size_t kMaxSocketsEach = 20'000;

template <class Number>
bool parse(std::string_view text, Number& out) {
  return std::from_chars(text.data(), text.data() + text.size(), out).ec == std::errc();
}

std::vector<std::int32_t> processes_of(const ProcessTree& tree) {
  std::vector<std::int32_t> pids;
  if (tree.cgroup.empty()) {
    for (const ProcessStat& member :
         members_of(tree.pid, tree.start_time, invocation_of(tree.pid))) {
      pids.push_back(member.pid);
    }
    return pids;
  }
  const auto listed = read_small_file(tree.cgroup + "/cgroup.procs", 64 * 1024);
  std::string_view rest = listed ? std::string_view(*listed) : std::string_view();
  while (!rest.empty() && pids.size() < kMaxProcesses) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    std::int32_t pid = 0;
    if (parse(rest.substr(0, end), pid)) pids.push_back(pid);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return pids;
}

// The effective user, as sockets that it makes carry: "Uid: <real> <effective> ..." (proc(5)).
std::optional<std::uint32_t> user_of(std::int32_t pid) {
  const auto text = read_small_file("/proc/" + std::to_string(pid) + "/status", 16 * 1024);
  if (!text) return std::nullopt;
  const std::size_t line = text->find("\nUid:");
  unsigned real = 0;
  unsigned effective = 0;
  if (line == std::string::npos ||
      std::sscanf(text->c_str() + line + 5, "%u %u", &real, &effective) != 2) {
    return std::nullopt;
  }
  return effective;
}

void add_sockets(std::int32_t pid, OwnSockets& own) {
  std::error_code failed;
  const std::filesystem::path folder = "/proc/" + std::to_string(pid) + "/fd";
  std::filesystem::directory_iterator entry(folder, failed);
  if (failed == std::errc::permission_denied) {
    if (const auto user = user_of(pid)) own.hidden_users.push_back(*user);
  }
  for (; !failed && entry != std::filesystem::directory_iterator(); entry.increment(failed)) {
    char target[64];
    const ssize_t size = ::readlink(entry->path().c_str(), target, sizeof target);
    constexpr std::string_view kPrefix = "socket:[";
    const std::string_view text(target, size > 0 ? static_cast<std::size_t>(size) : 0);
    std::uint64_t inode = 0;
    if (text.starts_with(kPrefix) && parse(text.substr(kPrefix.size()), inode)) {
      own.inodes.push_back(inode);
    }
    if (own.inodes.size() >= kMaxSocketsEach) break;
  }
}

}  // namespace

bool is_member(const ProcessTree& tree, std::int32_t pid) {
  const std::vector<std::int32_t> pids = processes_of(tree);
  return std::find(pids.begin(), pids.end(), pid) != pids.end();
}

bool OwnSockets::has(std::uint64_t inode, std::uint32_t uid) const {
  return std::ranges::find(inodes, inode) != inodes.end() ||
         std::ranges::find(hidden_users, uid) != hidden_users.end();
}

OwnSockets sockets_of(const ProcessTree& tree) {
  OwnSockets own;
  for (const std::int32_t pid : processes_of(tree)) {
    if (own.inodes.size() >= kMaxSocketsEach) break;
    add_sockets(pid, own);
  }
  return own;
}

OwnSockets sockets_of_leader(const ProcessTree& tree) {
  OwnSockets own;
  if (is_running(tree.pid, tree.start_time)) add_sockets(tree.pid, own);
  return own;
}

}  // namespace rooster::keeper
