#include "keeper/sweep.hpp"

#include "core/time.hpp"
#include "keeper/cgroup.hpp"
#include "keeper/process_tree.hpp"
#include "keeper/small_file.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <sstream>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <unistd.h>

namespace rooster::keeper {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMaxStateBytes = 4 * 1024 * 1024;
constexpr std::size_t kRewriteBytes = 256 * 1024;
constexpr auto kSweepTime = 2s;
constexpr auto kSweepStep = 2ms;

std::string boot_id() {
  std::string id = read_small_file("/proc/sys/kernel/random/boot_id").value_or("?");
  if (id.ends_with('\n')) id.pop_back();
  return id;
}

/// Only a directory that a keeper has made is ever killed, whatever the file says.
bool is_keepers_cgroup(const std::string& path) {
  return path.starts_with("/sys/fs/cgroup/") && path.find("/..") == std::string::npos &&
         std::filesystem::path(path).filename().string().starts_with("rooster-") &&
         ::access((path + "/cgroup.procs").c_str(), F_OK) == 0;
}

std::string line_of(const Record& record) {
  return "+ " + std::to_string(record.pid) + ' ' + std::to_string(record.start_time) + ' ' +
         (record.invocation.empty() ? "-" : record.invocation) + '\n';
}

}  // namespace

StateText parse_state(const std::string& text) {
  StateText state;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string kind;
    words >> kind;
    if (kind == "keeper") {
      std::string cgroup;
      words >> state.boot_id >> cgroup;
      state.cgroup = cgroup == "-" ? "" : cgroup;
    } else if (kind == "+") {
      Record record;
      if (!(words >> record.pid >> record.start_time >> record.invocation) || record.pid <= 1)
        continue;
      if (record.invocation == "-") record.invocation.clear();
      state.alive[record.pid] = record;
    } else if (kind == "-") {
      pid_t pid = 0;
      if (words >> pid) state.alive.erase(pid);
    }
  }
  return state;
}

std::size_t sweep(const StateText& state) {
  // After a reboot pids mean other processes, and the cgroups are gone.
  if (state.boot_id != boot_id()) return 0;
  std::size_t killed = 0;
  std::vector<ProcessStat> dying;
  const bool has_cgroup = is_keepers_cgroup(state.cgroup);
  if (has_cgroup) {
    killed += is_cgroup_populated(state.cgroup) ? 1 : 0;
    kill_cgroup(state.cgroup);
  }
  for (const auto& [pid, record] : state.alive) {
    const auto members = kill_members(pid, record.start_time, record.invocation);
    killed += members.size();
    dying.insert(dying.end(), members.begin(), members.end());
  }
  const TimePoint deadline = Clock::now() + kSweepTime;
  const auto remains = [&] {
    std::erase_if(dying, [](const ProcessStat& p) { return !is_running(p.pid, p.start_time); });
    return !dying.empty() || (has_cgroup && !remove_cgroup(state.cgroup));
  };
  while (remains() && Clock::now() < deadline)
    ::poll(nullptr, 0, static_cast<int>(kSweepStep.count()));
  return killed;
}

std::expected<StateFile, std::string> StateFile::open(const std::string& data_dir) {
  std::error_code error;
  // Keys will lie in it: for its owner only, unless an operator has made it otherwise.
  if (std::filesystem::create_directories(data_dir, error))
    std::filesystem::permissions(data_dir, std::filesystem::perms::owner_all, error);
  const std::string path = data_dir + "/keeper.state";
  StateFile state;
  state.file_ = Descriptor(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!state.file_) return std::unexpected(path + ": " + std::system_category().message(errno));
  if (::flock(state.file_.get(), LOCK_EX | LOCK_NB) != 0)
    return std::unexpected("another rooster runs with data directory " + data_dir +
                           "; stop it, or give this one its own `data`");
  state.folder_ = std::filesystem::canonical(data_dir, error).string();
  state.swept_ = sweep(parse_state(read_small_file(path, kMaxStateBytes).value_or("")));
  return state;
}

void StateFile::begin(const std::string& cgroup) {
  state_ = StateText{.boot_id = boot_id(), .cgroup = cgroup, .alive = {}};
  rewrite();
}

void StateFile::rewrite() {
  std::string text =
      "keeper " + state_.boot_id + ' ' + (state_.cgroup.empty() ? "-" : state_.cgroup) + '\n';
  for (const auto& [pid, record] : state_.alive) text += line_of(record);
  // A full disk costs the next start its sweep, not this one its machines: errors are passed over.
  if (::ftruncate(file_.get(), 0) != 0) return;
  size_ = 0;
  append(text);
}

void StateFile::append(const std::string& line) {
  const ssize_t n = ::pwrite(file_.get(), line.data(), line.size(), static_cast<off_t>(size_));
  if (n > 0) size_ += static_cast<std::size_t>(n);
}

void StateFile::add(Record record) {
  append(line_of(record));
  state_.alive[record.pid] = std::move(record);
  if (size_ > kRewriteBytes) rewrite();
}

void StateFile::remove(pid_t pid) {
  state_.alive.erase(pid);
  append("- " + std::to_string(pid) + '\n');
}

void StateFile::clear() {
  state_.alive.clear();
  state_.cgroup.clear();
  rewrite();
}

}  // namespace rooster::keeper
