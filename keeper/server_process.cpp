#include "keeper/server_process.hpp"

#include "keeper/child.hpp"
#include "keeper/client.hpp"
#include "keeper/packet_channel.hpp"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

namespace rooster::keeper {
namespace {

constexpr int kCannotExecute = 126;  // as shells say it

[[noreturn]] void run_server(const std::string& path, const std::vector<std::string>& argv,
                             const rlimit& descriptors, int channel, pid_t keeper) {
  reset_signals();
  ::setpgid(0, 0);
  ::setrlimit(RLIMIT_NOFILE, &descriptors);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != keeper) ::_exit(kCannotExecute);
  ::fcntl(channel, F_SETFD, 0);
  ::setenv(kChannelVariable, std::to_string(channel).c_str(), 1);
  std::vector<char*> pointers;
  for (const std::string& text : argv) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  ::execv(path.c_str(), pointers.data());
  const std::string message = "rooster: can't execute " + path + ": " + std::strerror(errno) + '\n';
  [[maybe_unused]] const ssize_t n = ::write(STDERR_FILENO, message.data(), message.size());
  ::_exit(kCannotExecute);
}

}  // namespace

ServerProcess start_server(const std::string& path, const std::vector<std::string>& argv,
                           const rlimit& descriptors) {
  auto [ours, theirs] = make_channel();
  if (!ours) return {};
  const pid_t keeper = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) run_server(path, argv, descriptors, theirs.get(), keeper);
  if (pid < 0) return {};
  ServerProcess server;
  server.pid = pid;
  server.channel = std::move(ours);
  return server;
}

}  // namespace rooster::keeper
