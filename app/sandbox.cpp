// In this order: capabilities (they are needed for nothing that follows), no new privileges, files,
// system calls last (the others are set by calls that it refuses).
#include "app/sandbox.hpp"

#include "app/system_calls.hpp"
#include "core/descriptor.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace rooster::app {

namespace {

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ROOSTER_SANITIZER_RUNS 1
#endif
#endif
#ifdef ROOSTER_SANITIZER_RUNS
constexpr bool kIsSanitized = true;  // its leak check clones, traces and starts a symbolizer
#else
constexpr bool kIsSanitized = false;
#endif

std::string folder_of(const std::string& path) {
  std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

bool is_regular_or_new(const std::string& path) {
  struct stat found{};
  return ::stat(path.c_str(), &found) != 0 || S_ISREG(found.st_mode);
}

// ---- capabilities

// As root: files of other owners (keys, data), the private network's sockets and a low UDP port.
// Not among them: SYS_ADMIN, SETUID, SYS_MODULE, MKNOD, BPF...
constexpr std::array<int, 5> kKept = {CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER,
                                      CAP_NET_BIND_SERVICE, CAP_NET_ADMIN};

using CapabilitySets = std::array<__user_cap_data_struct, 2>;

std::uint64_t kept_capabilities() {
  std::uint64_t kept = 0;
  for (const int one : kKept) kept |= std::uint64_t{1} << one;
  return kept;
}

bool drop_capabilities(SandboxFacts& facts) {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  CapabilitySets sets{};
  if (::syscall(SYS_capget, &header, sets.data()) != 0) return false;
  const std::uint64_t before = sets[0].permitted | std::uint64_t{sets[1].permitted} << 32;
  const std::uint64_t left = before & kept_capabilities();
  // Fails where SETPCAP is missing: then exec is what could bring one back, and exec is refused.
  for (int one = 0; ::prctl(PR_CAPBSET_READ, one) >= 0; ++one) {
    if ((left >> one & 1) == 0) ::prctl(PR_CAPBSET_DROP, one);
  }
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  for (std::size_t half = 0; half < sets.size(); ++half) {
    const auto part = static_cast<std::uint32_t>(left >> (32 * half));
    sets[half] = {.effective = part, .permitted = part, .inheritable = 0};
  }
  if (::syscall(SYS_capset, &header, sets.data()) != 0) return false;
  facts.capabilities = left == 0 ? "none"
                                 : std::to_string(std::popcount(left)) + " of " +
                                       std::to_string(std::popcount(before));
  return true;
}

// ---- files

// Everything that changes a file system, and starting programs. Reading stays possible: a reload
// may name certificates and folders anywhere.
constexpr std::uint64_t kWrites = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
                                  LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |
                                  LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK;
constexpr std::uint64_t kElsewhere = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
                                     LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
                                     LANDLOCK_ACCESS_FS_MAKE_SYM;
constexpr std::uint64_t kTruncate = 1ULL << 14;  // LANDLOCK_ACCESS_FS_TRUNCATE, since ABI 3

long landlock_abi() {
  return ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

void permit(int rules, const std::string& path, std::uint64_t rights) {
  const Descriptor there(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!there) return;
  const landlock_path_beneath_attr rule{.allowed_access = rights, .parent_fd = there.get()};
  // Refused for pipes and sockets: those are never held back.
  ::syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

// Empty, or why it does not hold.
std::string confine_files(const std::vector<std::string>& places, SandboxFacts& facts) {
  const long abi = landlock_abi();
  if (abi < 1) return std::string("files: this kernel has no Landlock: ") + std::strerror(errno);
  const std::uint64_t truncate = abi >= 3 ? kTruncate : 0;
  const landlock_ruleset_attr held{.handled_access_fs = kWrites | kElsewhere | truncate};
  const Descriptor rules(
      static_cast<int>(::syscall(SYS_landlock_create_ruleset, &held, sizeof held, 0)));
  if (!rules) return std::string("files: Landlock: ") + std::strerror(errno);
  for (const std::string& place : places) {
    struct stat found{};
    const bool is_folder = ::stat(place.c_str(), &found) == 0 && S_ISDIR(found.st_mode);
    permit(rules.get(), place,
           is_folder ? kWrites | truncate : LANDLOCK_ACCESS_FS_WRITE_FILE | truncate);
  }
  if (::syscall(SYS_landlock_restrict_self, rules.get(), 0) != 0) {
    return std::string("files: Landlock: ") + std::strerror(errno);
  }
  for (const std::string& place : places) {
    facts.files += (facts.files.empty() ? "writes only below " : ", ") + place;
  }
  facts.writable = places;
  return {};
}

// Where the server of this configuration writes. Resolved: a link elsewhere is what it points to.
std::vector<std::string> places_of(const config::NodeConfig& node) {
  std::vector<std::string> places = {node.fixed.data, folder_of(node.fixed.admin_socket)};
  if (node.fixed.wireguard) places.push_back("/var/run/wireguard");
  const std::string& log = node.reloadable.access_log;
  if (!log.empty() && log != "-") places.push_back(is_regular_or_new(log) ? folder_of(log) : log);
  std::vector<std::string> resolved;
  for (const std::string& place : places) {
    std::error_code failed;
    std::string real = std::filesystem::canonical(place, failed).string();
    if (!failed && std::ranges::find(resolved, real) == resolved.end()) {
      resolved.push_back(std::move(real));
    }
  }
  return resolved;
}

// ---- system calls

struct FreeFilter {
  void operator()(void* filter) const { seccomp_release(filter); }
};
using Filter = std::unique_ptr<void, FreeFilter>;

template <class... Conditions>
bool allow(const Filter& filter, const char* name, Conditions... conditions) {
  const int number = seccomp_syscall_resolve_name(name);
  if (number == __NR_SCMP_ERROR) return true;
  // EDOM, EINVAL: not a call of this architecture.
  const int failed =
      seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, number, sizeof...(conditions), conditions...);
  return failed == 0 || failed == -EDOM;
}

// Families that a proxy speaks; AF_PACKET, AF_ALG, AF_VSOCK and their kind have had most of the
// kernel's bugs.
bool allow_sockets(const Filter& filter) {
  for (const int family : {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK}) {
    if (!allow(filter, "socket", SCMP_A0_32(SCMP_CMP_EQ, static_cast<unsigned>(family))))
      return false;
  }
  return true;
}

// Never writable and executable at once. (glibc loads its name service by dlopen: executable alone
// must stay possible.)
bool allow_memory(const Filter& filter) {
  if (kIsSanitized) return allow(filter, "mmap") && allow(filter, "mprotect");
  for (const char* const call : {"mmap", "mprotect"}) {
    for (const std::uint64_t bit : {std::uint64_t{PROT_WRITE}, std::uint64_t{PROT_EXEC}}) {
      if (!allow(filter, call, SCMP_A2_32(SCMP_CMP_MASKED_EQ, bit, 0))) return false;
    }
  }
  return true;
}

bool allow_threads(const Filter& filter) {
  if (kIsSanitized) {
    for (const char* const call : {"clone", "ptrace", "wait4", "kill", "execve", "fork", "vfork",
                                   "personality", "process_vm_readv", "setpgid", "setsid"}) {
      if (!allow(filter, call)) return false;
    }
    return true;
  }
  // clone3 keeps its flags where a filter can't look: it answers ENOSYS, and glibc takes clone.
  return allow(filter, "clone", SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
}

// Empty, or why it does not hold.
std::string filter_calls(SandboxFacts& facts) {
  const Filter filter(seccomp_init(SCMP_ACT_ERRNO(ENOSYS)));
  if (!filter) return "libseccomp has no filter to give";
  seccomp_attr_set(filter.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
  seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);  // a tree instead of a list
  // Without it kernels before 5.16 slow the whole process down against Spectre variant 4.
  seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_SSB, 1);
  std::size_t count = 0;
  bool good = allow_sockets(filter) && allow_memory(filter) && allow_threads(filter) &&
              // Typing into a terminal that is somebody else's.
              allow(filter, "ioctl", SCMP_A1_32(SCMP_CMP_NE, TIOCSTI));
  for (const char* const name : allowed_calls()) {
    good = good && allow(filter, name);
    ++count;
  }
  if (!good) return "libseccomp refuses a rule";
  if (const int failed = seccomp_load(filter.get()); failed != 0) {
    return std::string("seccomp: ") + std::strerror(-failed);
  }
  constexpr std::size_t kByArgument = 5;
  facts.calls = "allow-list of " + std::to_string(count + kByArgument);
  return {};
}

}  // namespace

SandboxFacts enter_sandbox(const config::NodeConfig& node) {
  SandboxFacts facts;
  const std::vector<std::string> places = places_of(node);
  if (!drop_capabilities(facts)) {
    facts.missing.push_back(std::string("capabilities: ") + std::strerror(errno));
  }
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    facts.missing.push_back(std::string("no_new_privs: ") + std::strerror(errno));
  }
  if (std::string why = confine_files(places, facts); !why.empty()) {
    facts.missing.push_back(std::move(why));
  }
  if (std::string why = filter_calls(facts); !why.empty()) facts.missing.push_back(std::move(why));
  return facts;
}

bool may_write(const SandboxFacts& facts, const std::string& path) {
  if (facts.writable.empty() || path.empty() || path == "-") return true;
  std::error_code failed;
  const std::string real = std::filesystem::weakly_canonical(path, failed).string();
  return failed || std::ranges::any_of(facts.writable, [&real](const std::string& place) {
           return real == place || (real.starts_with(place) && real[place.size()] == '/');
         });
}

void report_sandbox(Log& log, const SandboxFacts& facts) {
  if (!facts.is_wanted) return log.warn("no sandbox: sandbox = false");
  log.info("sandbox", {{"capabilities", facts.capabilities.empty() ? "all" : facts.capabilities},
                       {"system_calls", facts.calls.empty() ? "all" : facts.calls},
                       {"files", facts.files.empty() ? "all" : facts.files}});
  for (const std::string& missing : facts.missing) {
    log.warn("this part of the sandbox does not hold here", {{"why", missing}});
  }
}

}  // namespace rooster::app
