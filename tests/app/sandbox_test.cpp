// What a process can still do once it has shut itself in. Each case in a child: it can't be undone.
#include "app/sandbox.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace rooster::app {
namespace {

class SandboxTest : public ::testing::Test {
 protected:
  SandboxTest() {
    EXPECT_NE(::mkdtemp(folder_.data()), nullptr);
    for (const char* one : {"data", "run", "log", "elsewhere"}) {
      std::filesystem::create_directory(folder_ + "/" + one);
    }
    node_.fixed.data = folder_ + "/data";
    node_.fixed.admin_socket = folder_ + "/run/admin.sock";
    node_.reloadable.access_log = folder_ + "/log/access.log";
  }
  ~SandboxTest() override { std::filesystem::remove_all(folder_); }

  /// Is `claim` true of a child in the sandbox? It gets what came of it.
  bool inside(const std::function<bool(const SandboxFacts&)>& claim) const {
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(claim(enter_sandbox(node_)) ? 0 : 1);
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  bool can_make(const std::string& name) const {
    const int fd = ::open((folder_ + "/" + name).c_str(), O_WRONLY | O_CREAT, 0600);
    if (fd >= 0) ::close(fd);
    return fd >= 0;
  }

  std::string folder_ = "/tmp/rooster-sandbox-XXXXXX";
  config::NodeConfig node_;
};

#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
TEST_F(SandboxTest, RefusesCallsThatAProxyHasNoUseFor) {
  EXPECT_TRUE(inside([](const SandboxFacts& facts) {
    if (facts.calls.empty()) return !facts.missing.empty();  // said, then
    char* const none[] = {nullptr};
    const bool no_exec = ::execve("/bin/true", none, none) != 0 && errno == ENOSYS;
    const bool no_fork = ::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, 0) < 0;
    const bool no_packets = ::socket(AF_PACKET, SOCK_RAW, 0) < 0 && errno == ENOSYS;
    const bool no_trace = ::syscall(SYS_ptrace, 0, 0, 0, 0) < 0 && errno == ENOSYS;
    const bool no_ring = ::syscall(SYS_io_uring_setup, 1, nullptr) < 0 && errno == ENOSYS;
    const bool no_signals = ::kill(::getppid(), 0) < 0 && errno == ENOSYS;
    void* const page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return no_exec && no_fork && no_packets && no_trace && no_ring && no_signals &&
           page == MAP_FAILED;
  }));
}
#endif

TEST_F(SandboxTest, LeavesWhatAServerIsMadeOf) {
  EXPECT_TRUE(inside([](const SandboxFacts&) {
    bool ran = false;
    std::thread([&ran] { ran = true; }).join();
    const int tcp = ::socket(AF_INET6, SOCK_STREAM, 0);
    const int diag = ::socket(AF_NETLINK, SOCK_DGRAM, 0);
    void* const page =
        ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return ran && tcp >= 0 && diag >= 0 && page != MAP_FAILED &&
           ::open("/etc/passwd", O_RDONLY) >= 0;
  }));
}

TEST_F(SandboxTest, WritesOnlyWhereItsConfigurationSays) {
  EXPECT_TRUE(inside([this](const SandboxFacts& facts) {
    const bool inner = can_make("data/state.db") && can_make("run/x") && can_make("log/access.log");
    if (facts.writable.empty()) return inner && !facts.missing.empty();
    return inner && !can_make("elsewhere/x") && errno == EACCES &&
           ::unlink((folder_ + "/data/state.db").c_str()) == 0 &&
           may_write(facts, folder_ + "/log/other.log") &&
           !may_write(facts, folder_ + "/elsewhere/x") && !may_write(facts, folder_ + "/log2/x");
  }));
}

TEST_F(SandboxTest, LetsADeviceBeTheAccessLog) {
  node_.reloadable.access_log = "/dev/null";
  EXPECT_TRUE(inside([this](const SandboxFacts& facts) {
    if (facts.writable.empty()) return !facts.missing.empty();
    return ::open("/dev/null", O_WRONLY) >= 0 && !can_make("log/x");
  }));
}

TEST_F(SandboxTest, KeepsOfRootsCapabilitiesFiveAtMost) {
  EXPECT_TRUE(inside([](const SandboxFacts& facts) {
    const bool has_some = ::geteuid() == 0;
    return ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 &&
           (has_some ? facts.capabilities.starts_with("5 of ") || facts.capabilities == "none" ||
                           facts.capabilities.size() < 8
                     : facts.capabilities == "none");
  }));
}

}  // namespace
}  // namespace rooster::app
