#include "tunnel/uapi_socket.hpp"

#include "net/unix_address.hpp"
#include "tests/tunnel/loop_pair.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>

namespace rooster::tunnel {
namespace {

using namespace std::chrono_literals;

// A folder of its own, and a device whose socket lies in it.
struct Served {
  explicit Served(UapiPolicy policy = UapiPolicy::All) {
    char name[] = "/tmp/uapi-XXXXXX";
    folder = ::mkdtemp(name);
    UapiOptions options;
    options.path = folder + "/rtest0.sock";
    options.policy = policy;
    auto made = UapiSocket::create(*pair.gateway.tunnel, std::move(options));
    EXPECT_TRUE(made.has_value()) << made.error().detail;
    socket = std::move(*made);
  }
  ~Served() {
    bool stopped = false;
    socket->stop([&stopped] { stopped = true; });
    EXPECT_TRUE(run_until(pair.loop, [&stopped] { return stopped; }));
    EXPECT_FALSE(std::filesystem::exists(folder + "/rtest0.sock"));
    std::filesystem::remove_all(folder);
  }
  Descriptor connect() {
    const auto address = net::UnixAddress::of(folder + "/rtest0.sock");
    Descriptor client(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(client.get(), address->get(), address->size()), 0);
    return client;
  }
  // What comes until "errno=…" and an empty line.
  std::string ask(const std::string& request) {
    const Descriptor client = connect();
    EXPECT_EQ(::send(client.get(), request.data(), request.size(), 0),
              static_cast<ssize_t>(request.size()));
    return read_until(client.get(), "\n\n");
  }
  std::string read_until(int fd, const char* end) {
    std::string text;
    std::array<char, 4096> piece;
    run_until(pair.loop, [&] {
      const ssize_t got = ::read(fd, piece.data(), piece.size());
      if (got > 0) text.append(piece.data(), static_cast<std::size_t>(got));
      return got == 0 || text.ends_with(end);
    });
    return text;
  }

  LoopPair pair;
  std::string folder;
  std::unique_ptr<UapiSocket> socket;
};

// `wg` in a mount namespace where /var/run/wireguard is `folder`.
pid_t start_wg(const std::string& folder, std::vector<const char*> words, int output) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  const bool is_root = ::geteuid() == 0;
  if (::unshare(CLONE_NEWNS | (is_root ? 0 : CLONE_NEWUSER)) != 0) ::_exit(100);
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) ::_exit(101);
  // The folder may lie below what is mounted over.
  const int held = ::open(folder.c_str(), O_PATH | O_DIRECTORY);
  if (::mount("none", "/run", "tmpfs", 0, nullptr) != 0) ::_exit(102);
  const std::string from = "/proc/self/fd/" + std::to_string(held);
  if (::mkdir("/run/wireguard", 0755) != 0) ::_exit(103);
  if (::mount(from.c_str(), "/run/wireguard", nullptr, MS_BIND, nullptr) != 0) ::_exit(104);
  ::dup2(output, 1);
  ::dup2(output, 2);
  words.insert(words.begin(), "wg");
  words.push_back(nullptr);
  ::execvp("wg", const_cast<char**>(words.data()));
  ::_exit(127);
}

std::string run_wg(Served& served, std::vector<const char*> words) {
  int ends[2];
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  const Descriptor ours(ends[0]);
  Descriptor theirs(ends[1]);
  const pid_t child = start_wg(served.folder, std::move(words), theirs.get());
  theirs.reset();
  const std::string text = served.read_until(ours.get(), "<the end of the file>");
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status << text;
  return text;
}

TEST(UapiSocket, PlainWgShowsTheDevice) {
  Served served;
  served.pair.client.port.put(inner_packet("fdaa:0:33:a7b::2", "fdaa:0:33:1::2", 100));
  ASSERT_TRUE(
      run_until(served.pair.loop, [&] { return !served.pair.gateway.port.received.empty(); }));
  const std::string text = run_wg(served, {"show", "rtest0"});
  const std::string port = std::to_string(served.pair.gateway.tunnel->listen_port());
  EXPECT_NE(text.find("interface: rtest0"), std::string::npos) << text;
  EXPECT_NE(text.find(to_base64(served.pair.gateway.key.public_key().bytes)), std::string::npos);
  EXPECT_NE(text.find("listening port: " + port), std::string::npos) << text;
  EXPECT_NE(text.find("peer: " + to_base64(served.pair.client.key.public_key().bytes)),
            std::string::npos);
  EXPECT_NE(text.find("allowed ips: fdaa:0:33:a7b::/120"), std::string::npos) << text;
  EXPECT_NE(text.find("latest handshake: "), std::string::npos) << text;
  EXPECT_NE(text.find("endpoint: 127.0.0.1:"), std::string::npos) << text;
}

TEST(UapiSocket, PlainWgSetsAPeer) {
  Served served;
  SystemRandom random;
  const std::string key = to_base64(PrivateKey::generate(random).public_key().bytes);
  run_wg(served, {"set", "rtest0", "peer", key.c_str(), "allowed-ips", "fdaa:0:33:9::/120",
                  "persistent-keepalive", "15"});
  const std::string text = run_wg(served, {"show", "rtest0", "dump"});
  EXPECT_NE(text.find(key), std::string::npos) << text;
  EXPECT_NE(text.find("fdaa:0:33:9::/120"), std::string::npos) << text;
}

TEST(UapiSocket, AGatewayRefusesWhatWouldUndoItsIsolation) {
  Served served(UapiPolicy::Gateway);
  const std::string key = to_hex(served.pair.client.key.public_key().bytes);
  EXPECT_EQ(served.ask("set=1\npublic_key=" + key + "\nallowed_ip=::/0\n\n"), "errno=-1\n\n");
  EXPECT_EQ(served.ask("set=1\nreplace_peers=true\n\n"), "errno=-1\n\n");
  EXPECT_EQ(served.ask("set=1\npublic_key=" + key +
                       "\nupdate_only=true\npersistent_keepalive_interval=15\n\n"),
            "errno=0\n\n");
  EXPECT_NE(served.ask("get=1\n\n").find("persistent_keepalive_interval=15"), std::string::npos);
}

TEST(UapiSocket, ConnectAndCloseAndNonsenseHarmNothing) {
  Served served;
  for (int i = 0; i < 40; ++i) served.connect().reset();
  EXPECT_NE(served.ask("nonsense\n\n"), "errno=0\n\n");
  EXPECT_NE(served.ask("get=1\n\n").find("errno=0\n\n"), std::string::npos);
}

TEST(UapiSocket, AMissingFolderAndATakenSocketAreErrors) {
  Served served;
  UapiOptions options;
  options.path = served.folder + "/missing/rtest0.sock";
  EXPECT_FALSE(UapiSocket::create(*served.pair.gateway.tunnel, std::move(options)));
  UapiOptions taken;
  taken.path = served.folder + "/rtest0.sock";
  EXPECT_FALSE(UapiSocket::create(*served.pair.gateway.tunnel, std::move(taken)));
}

}  // namespace
}  // namespace rooster::tunnel
