#include "tests/keeper/keeper_run.hpp"

#include "keeper/packet_channel.hpp"
#include "keeper/process_tree.hpp"
#include "keeper/small_file.hpp"
#include "keeper/sweep.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include <fcntl.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

namespace rooster::keeper {
namespace {

int milliseconds_left(TimePoint deadline) {
  return static_cast<int>(
      std::chrono::ceil<std::chrono::milliseconds>(remaining(deadline, Clock::now())).count());
}

bool wait_readable(int fd, TimePoint deadline) {
  pollfd watch = {.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&watch, 1, milliseconds_left(deadline)) > 0;
}

sockaddr_un abstract_address(const std::string& name, socklen_t& size) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(&address.sun_path[1], name.data(), name.size());
  size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return address;
}

}  // namespace

bool eventually(const std::function<bool()>& condition) {
  const TimePoint deadline = Clock::now() + kPatience;
  while (!condition()) {
    if (Clock::now() >= deadline) return false;
    ::poll(nullptr, 0, 1);
  }
  return true;
}

Server::Server(pid_t pid, Descriptor control, Descriptor channel)
    : pid_(pid), control_(std::move(control)), client_(std::move(channel)) {
  client_.set_on_event([this](Event event) {
    if (const auto* exec = std::get_if<ExecExited>(&event))
      exec_exits_.push_back(*exec);
    else
      exits_.push_back(std::get<Exited>(event));
  });
}

std::optional<Exited> Server::next_exit() {
  const TimePoint deadline = Clock::now() + kPatience;
  while (exits_.empty() && client_.is_open() && wait_readable(client_.fd(), deadline))
    client_.on_readable();
  if (exits_.empty()) return std::nullopt;
  Exited exited = exits_.front();
  exits_.pop_front();
  return exited;
}

std::optional<ExecExited> Server::next_exec_exit() {
  const TimePoint deadline = Clock::now() + kPatience;
  while (exec_exits_.empty() && client_.is_open() && wait_readable(client_.fd(), deadline))
    client_.on_readable();
  if (exec_exits_.empty()) return std::nullopt;
  const ExecExited exited = exec_exits_.front();
  exec_exits_.pop_front();
  return exited;
}

std::vector<Alive> Server::list() {
  std::vector<Alive> machines;
  bool done = false;
  client_.list([&](Alive machine) { machines.push_back(std::move(machine)); },
               [&](std::int32_t error) {
                 EXPECT_EQ(error, 0);
                 done = true;
               });
  const TimePoint deadline = Clock::now() + kPatience;
  while (!done && wait_readable(client_.fd(), deadline)) client_.on_readable();
  EXPECT_TRUE(done);
  return machines;
}

void Server::exit_with(char code) {
  ASSERT_EQ(::write(control_.get(), &code, 1), 1);
}

bool Server::got_hangup() {
  char byte = 0;
  return wait_readable(control_.get(), Clock::now() + kPatience) &&
         ::read(control_.get(), &byte, 1) == 1 && byte == 'h';
}

std::string Server::text_of(const Reply& reply) {
  if (const auto* failed = std::get_if<Failed>(&reply)) return failed->text;
  if (const auto* failed = std::get_if<SpawnFailed>(&reply)) return failed->text;
  return {};
}

KeeperRun::KeeperRun(const std::function<void(KeeperOptions&)>& adjust) {
  std::string pattern = std::filesystem::temp_directory_path() / "rooster-keeper-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) std::abort();
  directory_ = pattern;
  std::filesystem::permissions(directory_, std::filesystem::perms::all);
  const std::string name = directory_.filename();
  listener_ = Descriptor(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  socklen_t size = 0;
  const sockaddr_un address = abstract_address(name, size);
  if (::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      ::listen(listener_.get(), 16) != 0)
    std::abort();
  options_.data_dir = directory_ / "data";
  options_.server_argv = {"keeper-test-server", "--as-server", name};
  options_.log.level = LogLevel::Error;
  if (adjust) adjust(options_);
  start_again();
}

void KeeperRun::start_again() {
  pid_ = ::fork();
  if (pid_ == 0) ::_exit(run_keeper(options_));
}

KeeperRun::~KeeperRun() {
  if (pid_ > 0) {
    ::kill(pid_, SIGTERM);
    ::kill(pid_, SIGTERM);
    wait_for_exit();
  }
  // What a keeper killed by the test has left: nothing else would.
  const std::string state = options_.data_dir + "/keeper.state";
  sweep(parse_state(read_small_file(state).value_or("")));
  std::error_code error;
  std::filesystem::remove_all(directory_, error);
}

std::unique_ptr<Server> KeeperRun::accept_server() {
  if (!wait_readable(listener_.get(), Clock::now() + kPatience)) {
    ADD_FAILURE() << "no server came";
    std::abort();
  }
  Descriptor control(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  Packet packet;
  if (!wait_readable(control.get(), Clock::now() + kPatience)) std::abort();
  if (receive_packet(control.get(), packet) != Receiving::Received) std::abort();
  if (packet.descriptors.size() != 1) std::abort();
  ucred credentials = {};
  socklen_t size = sizeof credentials;
  ::getsockopt(control.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size);
  return std::make_unique<Server>(credentials.pid, std::move(control),
                                  std::move(packet.descriptors.front()));
}

std::optional<int> KeeperRun::wait_for_exit() {
  int status = 0;
  const bool ended = eventually([&] { return ::waitpid(pid_, &status, WNOHANG) == pid_; });
  if (!ended) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, &status, 0);
  }
  pid_ = 0;
  if (!ended) return std::nullopt;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

Spawn shell(const std::string& machine, const std::string& script) {
  Spawn spawn;
  spawn.machine = machine;
  spawn.argv = {"/bin/sh", "-c", script};
  spawn.env = {"PATH=/usr/bin:/bin"};
  spawn.kill_signal = SIGTERM;
  return spawn;
}

std::string read_until(int fd, const std::string& text) {
  std::string all;
  const TimePoint deadline = Clock::now() + kPatience;
  while (all.find(text) == std::string::npos && wait_readable(fd, deadline)) {
    char buffer[4096];
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n <= 0) break;
    all.append(buffer, static_cast<std::size_t>(n));
  }
  return all;
}

std::string wait_for_line(const std::filesystem::path& path) {
  std::string line;
  eventually([&] {
    std::ifstream file(path);
    return static_cast<bool>(std::getline(file, line)) && !file.eof();
  });
  return line;
}

bool is_alive(pid_t pid) {
  const auto stat = read_stat(pid);
  return stat && stat->state != 'Z' && stat->state != 'X';
}

int run_test_notifier() {
  const char* name = std::getenv("NOTIFY_SOCKET");
  if (name == nullptr || name[0] != '@') return 1;
  socklen_t size = 0;
  const sockaddr_un address = abstract_address(name + 1, size);
  const Descriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto* to = reinterpret_cast<const sockaddr*>(&address);
  if (::sendto(socket.get(), "READY=1", 7, 0, to, size) != 7) return 2;
  ::pause();
  return 0;
}

int run_test_server(const std::string& socket_name) {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGTERM);
  ::sigaddset(&set, SIGHUP);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  const Descriptor signals(::signalfd(-1, &set, SFD_CLOEXEC));
  const char* number = std::getenv(kChannelVariable);
  if (number == nullptr) return 99;
  const Descriptor control(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  socklen_t size = 0;
  const sockaddr_un address = abstract_address(socket_name, size);
  if (::connect(control.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) return 98;
  Packet packet{.bytes = "channel", .descriptors = {}};
  packet.descriptors.emplace_back(std::atoi(number));
  if (send_packet(control.get(), packet) != Sending::Sent) return 97;
  packet.descriptors.clear();
  while (true) {
    pollfd watches[] = {{.fd = control.get(), .events = POLLIN, .revents = 0},
                        {.fd = signals.get(), .events = POLLIN, .revents = 0}};
    if (::poll(watches, 2, -1) < 0) return 96;
    if (watches[1].revents != 0) {
      signalfd_siginfo info = {};
      if (::read(signals.get(), &info, sizeof info) != sizeof info) return 95;
      if (info.ssi_signo == SIGTERM) return 7;
      if (::write(control.get(), "h", 1) != 1) return 94;
    }
    if (watches[0].revents == 0) continue;
    char code = 0;
    return ::read(control.get(), &code, 1) == 1 ? code : 93;
  }
}

}  // namespace rooster::keeper
