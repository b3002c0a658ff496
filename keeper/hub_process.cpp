#include "keeper/hub_process.hpp"

#include "keeper/child.hpp"
#include "keeper/hub_namespace.hpp"
#include "keeper/packet_channel.hpp"
#include "keeper/small_file.hpp"

#include <cerrno>
#include <csignal>
#include <system_error>

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace rooster::keeper {
namespace {

constexpr int kStartMilliseconds = 10'000;
constexpr unsigned kStandardDescriptors = 3;

/// The child's first packet: how the start went, and its namespaces.
constexpr char kStarted = '+';

std::string sentence(const std::string& what) {
  return what + ": " + std::system_category().message(errno);
}

/// In a user namespace of its own a process has every right over what it makes there, and none
/// over anything else; only its own user and group exist in it.
bool map_own_user(uid_t user, gid_t group) {
  return write_small_file("/proc/self/setgroups", "deny") &&
         write_small_file("/proc/self/uid_map",
                          std::to_string(user) + ' ' + std::to_string(user) + " 1") &&
         write_small_file("/proc/self/gid_map",
                          std::to_string(group) + ' ' + std::to_string(group) + " 1");
}

struct Namespaces {
  Descriptor user, network;
};

/// The error, or "".
std::string make_namespaces(Namespaces& made) {
  const uid_t user = ::geteuid();
  const gid_t group = ::getegid();
  const bool is_privileged = ::unshare(CLONE_NEWNET) == 0;
  if (!is_privileged) {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
      return sentence("user and network namespaces are not allowed here");
    if (!map_own_user(user, group)) return sentence("a user namespace can't be set up here");
    made.user = Descriptor(::open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC));
    if (!made.user) return sentence("/proc/self/ns/user");
  }
  made.network = Descriptor(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  return made.network ? "" : sentence("/proc/self/ns/net");
}

std::string join_namespaces(int user, int network) {
  if (user >= 0 && ::setns(user, CLONE_NEWUSER) != 0) return sentence("the hub's user namespace");
  return ::setns(network, CLONE_NEWNET) == 0 ? "" : sentence("the hub's network namespace");
}

bool wait_for(int channel, short what, int milliseconds) {
  pollfd watch = {.fd = channel, .events = what, .revents = 0};
  int ready = 0;
  do {
    ready = ::poll(&watch, 1, milliseconds);
  } while (ready < 0 && errno == EINTR);
  return ready > 0;
}

bool send_waiting(int channel, const Packet& packet) {
  while (true) {
    const Sending sending = send_packet(channel, packet);
    if (sending == Sending::Sent) return true;
    if (sending != Sending::WouldBlock) return false;
    wait_for(channel, POLLOUT, -1);
  }
}

/// Until its other end closes.
void serve(int channel, bool is_new) {
  HubNamespace hub(is_new);
  while (true) {
    const bool is_asked = wait_for(channel, POLLIN, hub.has_leftovers() ? 0 : -1);
    if (!is_asked) {
      hub.tidy();
      continue;
    }
    Packet packet;
    const Receiving got = receive_packet(channel, packet);
    if (got == Receiving::Gone) return;
    if (got == Receiving::Nothing) continue;
    NumberedReply reply{.id = id_of(packet), .reply = {}};
    if (auto message = decode_request(std::move(packet)))
      reply.reply = hub.answer(std::move(message->request));
    else
      reply.reply = Failed{.error = EPROTO, .text = "request not understood"};
    const std::uint64_t id = reply.id;
    if (send_waiting(channel, encode(std::move(reply)))) continue;
    const Failed failed{.error = EMFILE, .text = "the reply can't be sent"};
    if (!send_waiting(channel, encode(NumberedReply{.id = id, .reply = failed}))) return;
  }
}

[[noreturn]] void run_hub(int channel, pid_t parent, int user, int network) {
  reset_signals();
  ::setsid();  // Ctrl-C is for who asked for the hub: it ends with them
  const int kept = ::fcntl(channel, F_DUPFD_CLOEXEC, static_cast<int>(kStandardDescriptors));
  const bool is_new = network < 0;
  Namespaces made;
  const std::string error = is_new ? make_namespaces(made) : join_namespaces(user, network);
  // After the last change of rights, which clears it.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::prctl(PR_SET_NAME, "rooster-hub");
  if (::getppid() != parent) ::_exit(1);
  Packet first{.bytes = error.empty() ? std::string(1, kStarted) : error, .descriptors = {}};
  if (made.network) first.descriptors.push_back(std::move(made.network));
  if (made.user) first.descriptors.push_back(std::move(made.user));
  send_packet(kept, first);
  first.descriptors.clear();
  if (!error.empty()) ::_exit(1);
  // Nothing of the parent's is held here: its locks and its listening sockets must go with it.
  if (kept > static_cast<int>(kStandardDescriptors))
    ::close_range(kStandardDescriptors, static_cast<unsigned>(kept) - 1, 0);
  ::close_range(static_cast<unsigned>(kept) + 1, ~0U, 0);
  serve(kept, is_new);
  ::_exit(0);
}

}  // namespace

HubProcess::HubProcess(pid_t pid, Descriptor channel, Descriptor user, Descriptor network)
    : pid_(pid),
      client_(std::move(channel)),
      user_(std::move(user)),
      network_(std::move(network)) {}

HubProcess& HubProcess::operator=(HubProcess&& other) noexcept {
  std::swap(pid_.value, other.pid_.value);
  std::swap(client_, other.client_);
  std::swap(user_, other.user_);
  std::swap(network_, other.network_);
  return *this;
}

HubProcess::~HubProcess() {
  if (pid_.value <= 0) return;
  ::kill(pid_.value, SIGKILL);
  while (::waitpid(pid_.value, nullptr, 0) < 0 && errno == EINTR) {
  }
}

std::expected<HubProcess, std::string> HubProcess::start() {
  return start_in({}, {});
}

std::expected<HubProcess, std::string> HubProcess::restart(HubProcess old) {
  Descriptor user = std::move(old.user_), network = std::move(old.network_);
  return start_in(std::move(user), std::move(network));
}

std::expected<HubProcess, std::string> HubProcess::start_in(Descriptor user, Descriptor network) {
  auto [ours, theirs] = make_channel();
  if (!ours) return std::unexpected(sentence("a socket pair"));
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return std::unexpected(sentence("fork"));
  if (pid == 0) run_hub(theirs.get(), parent, user.get(), network.get());
  theirs.reset();
  const bool is_new = !network;
  // From here on it is killed and reaped by its destructor, whatever happens.
  HubProcess hub(pid, Descriptor(), std::move(user), std::move(network));
  Packet first;
  if (!wait_for(ours.get(), POLLIN, kStartMilliseconds) ||
      receive_packet(ours.get(), first) != Receiving::Received)
    return std::unexpected("the hub process gave no sign of life");
  if (first.bytes != std::string(1, kStarted)) return std::unexpected(first.bytes);
  if (is_new) {
    if (first.descriptors.empty()) return std::unexpected("the hub process has no namespace");
    hub.network_ = std::move(first.descriptors[0]);
    if (first.descriptors.size() > 1) hub.user_ = std::move(first.descriptors[1]);
  }
  hub.client_ = Client(std::move(ours));
  return hub;
}

}  // namespace rooster::keeper
