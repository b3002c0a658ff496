// A real hub process: what its rules catch, whom they refuse, and that nothing stays of it. The
// same tests run again as an unprivileged user, in a user namespace.
#include "keeper/hub_process.hpp"
#include "tests/keeper/keeper_run.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <span>

#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/icmp6.h>
#include <netinet/ip6.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

namespace rooster::keeper {
namespace {

constexpr std::string_view kDb = "fdaa:0:33:1:0:1:0:2";
constexpr std::string_view kApp = "fdaa:0:33:1:0:2:0:2";
constexpr std::string_view kStranger = "fdaa:0:44:1:0:1:0:2";
constexpr std::string_view kFlycast = "fdaa:0:33:0:1::5";
constexpr std::string_view kPeer = "fdaa:0:33:a7b:1:0:a:102";

IpAddress address(std::string_view text) {
  return *IpAddress::parse(text);
}

bool is_ready(int fd, short events) {
  pollfd watch = {.fd = fd, .events = events, .revents = 0};
  return ::poll(&watch, 1, 20'000) > 0;
}

Endpoint name_of(int socket, int (*ask)(int, sockaddr*, socklen_t*)) {
  sockaddr_storage storage = {};
  socklen_t size = sizeof storage;
  if (ask(socket, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return {};
  return Endpoint::from(storage);
}

int bind_to(int socket, const Endpoint& endpoint) {
  sockaddr_storage storage = {};
  const socklen_t size = endpoint.to(storage);
  return ::bind(socket, reinterpret_cast<const sockaddr*>(&storage), size);
}

/// 0 or errno.
int connect_to(int socket, const Endpoint& endpoint) {
  sockaddr_storage storage = {};
  const socklen_t size = endpoint.to(storage);
  if (::connect(socket, reinterpret_cast<const sockaddr*>(&storage), size) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  if (!is_ready(socket, POLLOUT)) return ETIMEDOUT;
  int error = 0;
  socklen_t length = sizeof error;
  ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &length);
  return error;
}

/// /dev/net/tun for everybody, as distributions have it; the machine's own stays as it is.
std::string tun_node() {
  const std::string path = "/tmp/rooster-tun-" + std::to_string(::getpid());
  ::unlink(path.c_str());
  if (::mknod(path.c_str(), S_IFCHR | 0666, makedev(10, 200)) != 0) return "/dev/net/tun";
  ::chmod(path.c_str(), 0666);
  return path;
}

class HubTest : public testing::Test {
 protected:
  void SetUp() override {
    auto started = HubProcess::start();
    ASSERT_TRUE(started) << started.error();
    hub_ = std::make_unique<HubProcess>(std::move(*started));
    const char* node = std::getenv("ROOSTER_TEST_TUN");
    Hub wanted;
    wanted.tun_device = node != nullptr ? node : "/dev/net/tun";
    wanted.listeners = 2;
    ready_ = call<HubReady>(std::move(wanted));
    ASSERT_EQ(ready_.no_tun, "");
    ASSERT_EQ(ready_.no_catch, "");
    ASSERT_EQ(ready_.listeners.size(), 2u);
    attach("db", kDb);
    attach("app", kApp);
    attach("stranger", kStranger);
    Catch change;
    change.add_addresses = {address(kDb), address(kApp), address(kStranger)};
    change.add_ports = {{address(kFlycast), 5432}};
    change.add_pings = {address(kFlycast)};
    change.add_peers = {{address("fdaa:0:33:a7b:1:0:a:100"), 120}};
    call<Done>(std::move(change));
  }

  template <class T>
  T call(Request request) {
    Reply reply = hub_->client().call(std::move(request), kPatience);
    if (auto* wanted = std::get_if<T>(&reply)) return std::move(*wanted);
    const auto* failed = std::get_if<Failed>(&reply);
    ADD_FAILURE() << "another reply: " << (failed != nullptr ? failed->text : "");
    return T{};
  }

  void attach(const std::string& machine, std::string_view at) {
    attached_[machine] = call<Attached>(Attach{.machine = machine, .address = address(at)});
    ASSERT_TRUE(attached_[machine].network);
  }

  Descriptor socket(Sockets request) {
    auto made = call<SocketsMade>(std::move(request));
    return made.sockets.empty() ? Descriptor() : std::move(made.sockets.front());
  }

  /// Which of the transparent listeners got a connection; not open if none did.
  Descriptor accept_caught() {
    pollfd watches[2] = {{.fd = ready_.listeners[0].get(), .events = POLLIN, .revents = 0},
                         {.fd = ready_.listeners[1].get(), .events = POLLIN, .revents = 0}};
    if (::poll(watches, 2, 20'000) <= 0) return {};
    const pollfd& one = watches[0].revents != 0 ? watches[0] : watches[1];
    return Descriptor(::accept4(one.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  }

  void expect_caught(const std::string& from, std::string_view source, const Endpoint& to) {
    const Descriptor client =
        socket({.machine = from,
                .family = to.address.is_v4() ? std::uint16_t{AF_INET} : std::uint16_t{AF_INET6}});
    EXPECT_EQ(connect_to(client.get(), to), 0) << to.to_string();
    const Descriptor caught = accept_caught();
    ASSERT_TRUE(caught);
    EXPECT_EQ(name_of(caught.get(), ::getsockname), to);
    EXPECT_EQ(name_of(caught.get(), ::getpeername).address,
              source.empty() ? attached_[from].address_v4 : address(source));
    ASSERT_EQ(::send(caught.get(), "hello", 5, 0), 5);
    char text[8] = {};
    ASSERT_TRUE(is_ready(client.get(), POLLIN));
    EXPECT_EQ(::recv(client.get(), text, sizeof text, 0), 5);
  }

  int refusal(const std::string& from, std::string_view to, std::uint16_t port) {
    const Descriptor client = socket({.machine = from});
    return connect_to(client.get(), {address(to), port});
  }

  std::unique_ptr<HubProcess> hub_;
  HubReady ready_;
  std::map<std::string, Attached> attached_;
};

TEST_F(HubTest, EveryPortOfAMachineAndThePortsOfAServiceAreCaught) {
  expect_caught("app", kApp, {address(kDb), 5432});
  expect_caught("app", kApp, {address(kDb), 1});
  expect_caught("app", kApp, {address(kFlycast), 5432});
  expect_caught("db", kDb, {address(kApp), 8080});
  expect_caught("app", kApp, {address("fdaa:0:33::3"), 4280});
}

TEST_F(HubTest, WhatLiesOutsideThePrivateNetworkIsCaughtToo) {
  expect_caught("app", kApp, {address("2606:4700::1111"), 443});
  expect_caught("app", "", {address("1.1.1.1"), 443});
  expect_caught("app", "", {address("10.9.8.7"), 25});
}

TEST_F(HubTest, WhatIsNotCaughtIsRefusedAtOnce) {
  EXPECT_EQ(refusal("app", kFlycast, 5433), ECONNREFUSED);
  EXPECT_EQ(refusal("app", "fdaa:0:33:1:0:99:0:2", 5432), ECONNREFUSED);
  EXPECT_EQ(refusal("app", "fdaa::3", 4280), ECONNREFUSED);
}

TEST_F(HubTest, NetworksDoNotReachEachOther) {
  EXPECT_EQ(refusal("stranger", kDb, 5432), ECONNREFUSED);
  EXPECT_EQ(refusal("stranger", kFlycast, 5432), ECONNREFUSED);
  EXPECT_EQ(refusal("app", kStranger, 5432), ECONNREFUSED);
  EXPECT_EQ(refusal("app", "fdaa:0:44::3", 53), ECONNREFUSED);
}

TEST_F(HubTest, CatchesComeAndGo) {
  Catch change;
  change.remove_ports = {{address(kFlycast), 5432}, {address(kFlycast), 9}};
  change.add_ports = {{address(kFlycast), 6000}, {address(kFlycast), 6000}};
  change.remove_addresses = {address(kDb)};
  call<Done>(std::move(change));
  EXPECT_EQ(refusal("app", kFlycast, 5432), ECONNREFUSED);
  EXPECT_EQ(refusal("app", kDb, 5432), ECONNREFUSED);
  expect_caught("app", kApp, {address(kFlycast), 6000});
  Catch anew;
  anew.clear = true;
  call<Done>(std::move(anew));
  EXPECT_EQ(refusal("app", kFlycast, 6000), ECONNREFUSED);
}

TEST_F(HubTest, ManyAreCaughtAtOnce) {
  Catch change;
  for (std::uint16_t port = 10'000; port < 18'000; ++port)
    change.add_ports.push_back({address(kFlycast), port});
  call<Done>(std::move(change));
  expect_caught("app", kApp, {address(kFlycast), 10'000});
  expect_caught("app", kApp, {address(kFlycast), 17'999});
  Catch less;
  for (std::uint16_t port = 10'000; port < 17'999; ++port)
    less.remove_ports.push_back({address(kFlycast), port});
  call<Done>(std::move(less));
  EXPECT_EQ(refusal("app", kFlycast, 17'998), ECONNREFUSED);
  expect_caught("app", kApp, {address(kFlycast), 17'999});
}

TEST_F(HubTest, DnsIsHeardOnEveryInfraAddress) {
  for (const std::string_view to : {"fdaa::3", "fdaa:0:33::3"}) {
    const Descriptor client = socket({.machine = "app", .is_datagram = true});
    ASSERT_EQ(connect_to(client.get(), {address(to), 53}), 0);
    ASSERT_EQ(::send(client.get(), "who?", 4, 0), 4);
    ASSERT_TRUE(is_ready(ready_.dns_datagrams.get(), POLLIN)) << to;
    char text[16] = {};
    sockaddr_storage from = {};
    iovec part = {.iov_base = text, .iov_len = sizeof text};
    alignas(cmsghdr) char control[256];
    msghdr message = {};
    message.msg_name = &from;
    message.msg_namelen = sizeof from;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    ASSERT_EQ(::recvmsg(ready_.dns_datagrams.get(), &message, 0), 4);
    EXPECT_EQ(Endpoint::from(from).address, address(kApp));
    // The answer leaves from where the question went: the same control message sends it.
    ASSERT_EQ(::sendmsg(ready_.dns_datagrams.get(), &message, 0), 16) << std::strerror(errno);
    ASSERT_TRUE(is_ready(client.get(), POLLIN)) << to;
    const Descriptor stream = socket({.machine = "app"});
    EXPECT_EQ(connect_to(stream.get(), {address(to), 53}), 0);
    ASSERT_TRUE(is_ready(ready_.dns_listener.get(), POLLIN));
    const Descriptor accepted(::accept(ready_.dns_listener.get(), nullptr, nullptr));
    EXPECT_EQ(name_of(accepted.get(), ::getsockname).address, address(to));
  }
}

TEST_F(HubTest, MachinesAreDialledWithAClientsOwnAddress) {
  const Descriptor listener = socket({.machine = "db"});
  ASSERT_EQ(bind_to(listener.get(), {IpAddress(), 5432}), 0);
  ASSERT_EQ(::listen(listener.get(), 8), 0);
  for (const std::string_view source : {kApp, kPeer, kFlycast}) {
    const Descriptor client = socket({.is_transparent = true});
    ASSERT_EQ(bind_to(client.get(), {address(source), 0}), 0) << std::strerror(errno);
    ASSERT_EQ(connect_to(client.get(), {address(kDb), 5432}), 0) << source;
    ASSERT_TRUE(is_ready(listener.get(), POLLIN));
    const Descriptor accepted(::accept(listener.get(), nullptr, nullptr));
    EXPECT_EQ(name_of(accepted.get(), ::getpeername).address, address(source));
    ASSERT_EQ(::send(accepted.get(), "hello", 5, 0), 5);
    char text[8] = {};
    ASSERT_TRUE(is_ready(client.get(), POLLIN));
    EXPECT_EQ(::recv(client.get(), text, sizeof text, 0), 5);
  }
  // Without an address of its own: the hub's; and by IPv4.
  const Descriptor plain = socket({});
  EXPECT_EQ(connect_to(plain.get(), {address(kDb), 5432}), 0);
  const Descriptor v4 = socket({.family = AF_INET});
  EXPECT_EQ(connect_to(v4.get(), {attached_["db"].address_v4, 5432}), 0);
}

TEST_F(HubTest, AMachineCannotSpeakWithAnothersAddress) {
  // What an app with rights over its namespace could do: another address on its own interface.
  const Descriptor client = socket({.machine = "app"});
  ASSERT_EQ(connect_to(client.get(), {address(kFlycast), 5432}), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    if (hub_->user_namespace() >= 0 && ::setns(hub_->user_namespace(), CLONE_NEWUSER) != 0)
      ::_exit(10);
    if (::setns(attached_["app"].network.get(), CLONE_NEWNET) != 0) ::_exit(11);
    const int on = 1;
    const int spoof = ::socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (::setsockopt(spoof, SOL_IPV6, IPV6_TRANSPARENT, &on, sizeof on) != 0) ::_exit(12);
    if (bind_to(spoof, {address(kPeer), 0}) != 0) ::_exit(13);
    sockaddr_storage storage = {};
    const socklen_t size = Endpoint{address(kFlycast), 5432}.to(storage);
    ::connect(spoof, reinterpret_cast<const sockaddr*>(&storage), size);
    pollfd watch = {.fd = spoof, .events = POLLOUT, .revents = 0};
    ::_exit(::poll(&watch, 1, 300) == 0 ? 0 : 14);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

// ---- packets of a peer, written into the TUN device

std::uint16_t checksum_of(std::span<const std::uint8_t> bytes, std::uint32_t sum) {
  for (std::size_t i = 0; i < bytes.size(); ++i)
    sum += i % 2 == 0 ? static_cast<std::uint32_t>(bytes[i] << 8) : bytes[i];
  while (sum >> 16 != 0) sum = (sum & 0xFFFF) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

std::vector<std::uint8_t> ping_packet(const IpAddress& from, const IpAddress& to) {
  std::vector<std::uint8_t> packet(48);
  packet[0] = 0x60;
  packet[5] = 8;
  packet[6] = IPPROTO_ICMPV6;
  packet[7] = 64;
  std::ranges::copy(from.bytes(), packet.begin() + 8);
  std::ranges::copy(to.bytes(), packet.begin() + 24);
  packet[40] = ICMP6_ECHO_REQUEST;
  packet[45] = 7;
  const std::uint16_t sum = checksum_of(std::span(packet).subspan(8), 8 + IPPROTO_ICMPV6);
  packet[42] = static_cast<std::uint8_t>(sum >> 8);
  packet[43] = static_cast<std::uint8_t>(sum & 0xFF);
  return packet;
}

/// The ICMPv6 type and code of what comes back; -1: nothing.
std::pair<int, int> ping(int tun, std::string_view from, std::string_view to) {
  const auto packet = ping_packet(address(from), address(to));
  if (::write(tun, packet.data(), packet.size()) != static_cast<ssize_t>(packet.size()))
    return {-2, errno};
  std::array<std::uint8_t, 2048> answer;
  while (is_ready(tun, POLLIN)) {
    const ssize_t size = ::read(tun, answer.data(), answer.size());
    if (size >= 48 && answer[6] == IPPROTO_ICMPV6) return {answer[40], answer[41]};
  }
  return {-1, 0};
}

TEST_F(HubTest, OnlyKnownAddressesAnswerPings) {
  for (const std::string_view known : {kDb, kFlycast, std::string_view("fdaa:0:33::3")})
    EXPECT_EQ(ping(ready_.tun.get(), kPeer, known), std::pair(ICMP6_ECHO_REPLY, 0)) << known;
  EXPECT_EQ(ping(ready_.tun.get(), kPeer, "fdaa:0:33:dead:beef::77"),
            std::pair(ICMP6_DST_UNREACH, ICMP6_DST_UNREACH_ADDR));
}

TEST_F(HubTest, APeersFloodTakesNoOtherPeersAnswers) {
  constexpr std::string_view kNothing = "fdaa:0:33:dead:beef::77";
  Catch change;
  change.add_peers = {{address("fdaa:0:33:a7b:1:0:a:200"), 120}};
  call<Done>(std::move(change));
  // From every address of the one peer: they are one source.
  for (int i = 0; i < 2000; ++i) {
    const auto flood = ping_packet(
        address("fdaa:0:33:a7b:1:0:a:1" + std::string(1, "0123456789abcdef"[i % 16]) + "1"),
        address(kNothing));
    ASSERT_EQ(::write(ready_.tun.get(), flood.data(), flood.size()),
              static_cast<ssize_t>(flood.size()));
  }
  const IpAddress quiet = address("fdaa:0:33:a7b:1:0:a:202");
  const auto question = ping_packet(quiet, address(kNothing));
  ASSERT_GT(::write(ready_.tun.get(), question.data(), question.size()), 0);
  int to_flooder = 0;
  bool is_quiet_told = false;
  std::array<std::uint8_t, 2048> answer;
  while (!is_quiet_told && is_ready(ready_.tun.get(), POLLIN)) {
    const ssize_t size = ::read(ready_.tun.get(), answer.data(), answer.size());
    if (size < 48 || answer[6] != IPPROTO_ICMPV6 || answer[40] != ICMP6_DST_UNREACH) continue;
    std::array<std::uint8_t, 16> to;
    std::copy_n(answer.begin() + 24, 16, to.begin());
    is_quiet_told = IpAddress::from_bytes(to) == quiet;
    to_flooder += is_quiet_told ? 0 : 1;
  }
  EXPECT_TRUE(is_quiet_told);
  EXPECT_GE(to_flooder, 1);
  EXPECT_LT(to_flooder, 500);
}

TEST_F(HubTest, AnotherProcessTakesOverWhereOneWasKilled) {
  ::kill(hub_->pid(), SIGKILL);
  ::waitpid(hub_->release(), nullptr, 0);
  auto again = HubProcess::restart(std::move(*hub_));
  ASSERT_TRUE(again) << again.error();
  hub_ = std::make_unique<HubProcess>(std::move(*again));
  auto ready = call<HubReady>(Hub{.listeners = 1, .is_again = true});
  EXPECT_EQ(ready.listeners.size(), 1u);
  for (const auto& [machine, at] :
       {std::pair("db", kDb), std::pair("app", kApp), std::pair("stranger", kStranger)}) {
    const Attached& known = attached_[machine];
    call<Attached>(Attach{.machine = machine,
                          .address = address(at),
                          .address_v4 = known.address_v4,
                          .network = Descriptor(::fcntl(known.network.get(), F_DUPFD_CLOEXEC, 3))});
  }
  ready_.listeners[0] = std::move(ready.listeners[0]);  // the old first one closes
  expect_caught("app", kApp, {address(kDb), 5432});
  attach("new", "fdaa:0:33:1:0:7:0:2");
  expect_caught("new", "fdaa:0:33:1:0:7:0:2", {address(kDb), 5432});
}

TEST_F(HubTest, ADetachedMachineIsCutOff) {
  const Descriptor client = socket({.machine = "app"});
  call<Done>(Detach{.machine = "app"});
  sockaddr_storage to = {};
  const socklen_t size = Endpoint{address(kDb), 5432}.to(to);
  ::connect(client.get(), reinterpret_cast<const sockaddr*>(&to), size);
  pollfd caught[2] = {{.fd = ready_.listeners[0].get(), .events = POLLIN, .revents = 0},
                      {.fd = ready_.listeners[1].get(), .events = POLLIN, .revents = 0}};
  EXPECT_EQ(::poll(caught, 2, 200), 0);
  auto reply = hub_->client().call(Sockets{.machine = "app"});
  ASSERT_TRUE(std::holds_alternative<Failed>(reply));
  EXPECT_EQ(std::get<Failed>(reply).error, ESRCH);
  attached_.erase("app");
  attach("app", kApp);
  expect_caught("app", kApp, {address(kDb), 5432});
}

TEST(HubProcess, ItGoesWithWhoeverStartedIt) {
  std::array<int, 2> pipe = {-1, -1};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  const pid_t parent = ::fork();
  if (parent == 0) {
    auto hub = HubProcess::start();
    const pid_t pid = hub ? hub->pid() : 0;
    if (::write(pipe[1], &pid, sizeof pid) != sizeof pid) ::_exit(1);
    ::pause();
  }
  pid_t hub = 0;
  ASSERT_EQ(::read(pipe[0], &hub, sizeof hub), static_cast<ssize_t>(sizeof hub));
  EXPECT_TRUE(hub > 0 && is_alive(hub));
  ::kill(parent, SIGKILL);
  ::waitpid(parent, nullptr, 0);
  EXPECT_TRUE(eventually([&] { return !is_alive(hub); }));
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST(HubProcess, AClientsNetworkLiesBehindItsTunDevice) {
  auto hub = HubProcess::start();
  ASSERT_TRUE(hub) << hub.error();
  Hub wanted;
  const char* node = std::getenv("ROOSTER_TEST_TUN");
  if (node != nullptr) wanted.tun_device = node;
  wanted.is_gateway = false;
  wanted.addresses = {address(kPeer)};
  Reply reply = hub->client().call(std::move(wanted), kPatience);
  auto* ready = std::get_if<HubReady>(&reply);
  ASSERT_NE(ready, nullptr);
  ASSERT_EQ(ready->no_tun, "");
  Reply made = hub->client().call(Sockets{}, kPatience);
  auto* sockets = std::get_if<SocketsMade>(&made);
  ASSERT_NE(sockets, nullptr);
  sockaddr_storage storage = {};
  const socklen_t size = Endpoint{address(kDb), 5432}.to(storage);
  ::connect(sockets->sockets[0].get(), reinterpret_cast<const sockaddr*>(&storage), size);
  std::array<std::uint8_t, 2048> packet;
  ASSERT_TRUE(is_ready(ready->tun.get(), POLLIN));
  ssize_t got = 0;
  while ((got = ::read(ready->tun.get(), packet.data(), packet.size())) > 0)
    if (packet[6] == IPPROTO_TCP) break;
  ASSERT_GT(got, 40);
  EXPECT_TRUE(std::equal(packet.begin() + 8, packet.begin() + 24, address(kPeer).bytes().begin()));
  EXPECT_TRUE(std::equal(packet.begin() + 24, packet.begin() + 40, address(kDb).bytes().begin()));
}

TEST(HubProcess, AllOfThisWorksWithoutRoot) {
#if __has_feature(thread_sanitizer)
  return;  // its own thread in every process forbids user namespaces
#endif
  if (::geteuid() != 0) return;  // this is that run
  constexpr uid_t kUser = 1000;
  const std::string node = tun_node();
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv("ROOSTER_TEST_TUN", node.c_str(), 1);
    if (::setgroups(0, nullptr) != 0 || ::setresgid(kUser, kUser, kUser) != 0 ||
        ::setresuid(kUser, kUser, kUser) != 0)
      ::_exit(99);
    ::execl("/proc/self/exe", "keeper_tests", "--gtest_filter=Hub*", nullptr);
    ::_exit(98);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  ::unlink(node.c_str());
}

}  // namespace
}  // namespace rooster::keeper
