#include "tests/machines/child.hpp"

#include "core/address.hpp"
#include "keeper/process_tree.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

namespace rooster::machines::apps {

namespace {

void say(const char* word, std::uint64_t number) {
  std::printf("%s %llu\n", word, static_cast<unsigned long long>(number));
  std::fflush(stdout);
}

[[noreturn]] void run_on() {
  for (;;) ::pause();
}

int listen_late(const std::vector<std::string>& arguments) {
  say("pid", static_cast<std::uint64_t>(::getpid()));
  ::poll(nullptr, 0, std::atoi(arguments.at(2).c_str()));
  const auto port = static_cast<std::uint16_t>(std::atoi(arguments.at(1).c_str()));
  const Descriptor socket = listen_on(arguments.size() > 3 ? arguments[3] : "127.0.0.1", port);
  if (!socket) return 1;
  say("listen",
      static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()));
  run_on();
}

int tell_ready(const std::vector<std::string>& arguments) {
  const char* name = std::getenv("NOTIFY_SOCKET");
  if (name == nullptr) return 1;
  std::printf("socket %s\n", name);
  std::fflush(stdout);
  while (::access(arguments.at(2).c_str(), F_OK) != 0) ::poll(nullptr, 0, 1);
  const Descriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path(name);
  std::memcpy(address.sun_path, path.data(), path.size());
  if (path.front() == '@') address.sun_path[0] = '\0';
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  constexpr char kText[] = "STATUS=warm\nREADY=1\n";
  if (::sendto(socket.get(), kText, sizeof kText - 1, 0, reinterpret_cast<sockaddr*>(&address),
               size) < 0) {
    return 2;
  }
  run_on();
}

}  // namespace

std::string own_program() {
  return std::filesystem::read_symlink("/proc/self/exe");
}

int run_as_app(const std::vector<std::string>& arguments) {
  if (arguments.at(0) == "--notify") return tell_ready(arguments);
  if (arguments.at(0) == "--daemon") {
    if (::fork() != 0) run_on();
    ::setsid();
    if (::fork() != 0) ::_exit(0);
  }
  return listen_late(arguments);
}

std::uint16_t free_port() {
  const Descriptor socket = listen_on("127.0.0.1");
  return port_of(socket);
}

Descriptor listen_on(const std::string& address, std::uint16_t port, bool v6_only) {
  sockaddr_storage where{};
  socklen_t size = Endpoint{*IpAddress::parse(address), port}.to(where);
  Descriptor socket(::socket(where.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  const int only = v6_only ? 1 : 0;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (where.ss_family == AF_INET6) {
    ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
  }
  if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&where), size) != 0 ||
      ::listen(socket.get(), 16) != 0) {
    return {};
  }
  return socket;
}

std::uint16_t port_of(const Descriptor& socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size);
  return Endpoint::from(address).port;
}

Child::Child(const std::vector<std::string>& arguments, uid_t uid) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) std::abort();
  output_ = Descriptor(ends[0]);
  const Descriptor theirs(ends[1]);
  const std::string program = own_program();
  std::vector<std::string> words = arguments;
  words.insert(words.begin(), program);
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ != 0) return;
  if (uid != 0 && ::setresuid(uid, uid, uid) != 0) ::_exit(125);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::dup2(theirs.get(), STDOUT_FILENO);
  ::execv(program.c_str(), pointers.data());
  ::_exit(126);
}

Child::~Child() {
  for (const pid_t other : others_) ::kill(other, SIGKILL);
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

std::uint64_t Child::start_time() const {
  const auto stat = keeper::read_stat(pid_);
  return stat ? stat->start_time : 0;
}

std::uint64_t Child::wait_for(const std::string& word) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (std::chrono::steady_clock::now() < end) {
    const std::size_t begin = ('\n' + read_).find('\n' + word + ' ');
    if (begin != std::string::npos && read_.find('\n', begin) != std::string::npos) {
      const std::uint64_t number = std::strtoull(read_.c_str() + begin + word.size(), nullptr, 10);
      if (word == "pid") others_.push_back(static_cast<pid_t>(number));
      return number;
    }
    pollfd wanted{output_.get(), POLLIN, 0};
    char block[512];
    if (::poll(&wanted, 1, 100) <= 0) continue;
    const ssize_t got = ::read(output_.get(), block, sizeof block);
    if (got <= 0) break;
    read_.append(block, static_cast<std::size_t>(got));
  }
  ADD_FAILURE() << "the child never said " << word << ", but: " << read_;
  return 0;
}

}  // namespace rooster::machines::apps
