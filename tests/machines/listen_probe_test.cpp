// Listening sockets of this host, and whose they are: with real sockets on loopback.
#include "machines/listen_probe.hpp"

#include "tests/machines/child.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace rooster::machines {
namespace {

using keeper::is_member;
using keeper::sockets_of;

bool has(const OwnSockets& own, const ListeningSocket& socket) {
  return own.has(socket.inode, socket.uid);
}

using apps::Child;
using apps::free_port;
using apps::listen_on;
using apps::port_of;

std::optional<ListeningSocket> find(const std::vector<ListeningSocket>& sockets,
                                    std::uint16_t port) {
  const auto found = std::ranges::find(sockets, port, &ListeningSocket::port);
  if (found == sockets.end()) return std::nullopt;
  return *found;
}

std::uint64_t inode_of(const Descriptor& socket) {
  struct stat what{};
  ::fstat(socket.get(), &what);
  return what.st_ino;
}

std::string text(std::uint16_t port) {
  return std::to_string(port);
}

TEST(ListenProbe, FindsWhatListensWithItsAddressInodeAndUser) {
  const Descriptor socket = listen_on("127.0.0.1");
  ListenProbe probe;
  const auto found = find(probe.list(), port_of(socket));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->address.to_string(), "127.0.0.1");
  EXPECT_EQ(found->inode, inode_of(socket));
  EXPECT_EQ(found->uid, ::geteuid());
  EXPECT_TRUE(found->answers_loopback());
}

TEST(ListenProbe, SeesTheEndOfAListener) {
  Descriptor socket = listen_on("127.0.0.1");
  const std::uint16_t port = port_of(socket);
  ListenProbe probe;
  EXPECT_TRUE(find(probe.list(), port));
  socket.reset();
  EXPECT_FALSE(find(probe.list(), port));
}

TEST(ListenProbe, SaysWhichListenersAnswerAtLoopback) {
  struct Case {
    const char* address;
    bool v6_only;
    bool answers;
  };
  for (const Case& one : {Case{"0.0.0.0", false, true}, Case{"::", false, true},
                          Case{"::", true, false}, Case{"127.0.0.9", false, false},
                          Case{"::1", false, false}, Case{"127.0.0.1", false, true}}) {
    const Descriptor socket = listen_on(one.address, 0, one.v6_only);
    ASSERT_TRUE(socket) << one.address;
    ListenProbe probe;
    const auto found = find(probe.list(), port_of(socket));
    ASSERT_TRUE(found) << one.address;
    EXPECT_EQ(found->answers_loopback(), one.answers) << one.address << one.v6_only;
  }
}

TEST(ListenProbe, ReadsMoreSocketsThanOneAnswerHolds) {
  std::vector<Descriptor> sockets;
  for (int i = 0; i < 400; ++i) sockets.push_back(listen_on("127.0.0.1"));
  ListenProbe probe;
  const std::vector<ListeningSocket> listed = probe.list();
  for (const Descriptor& socket : sockets) ASSERT_TRUE(find(listed, port_of(socket)));
}

TEST(ProcessTree, HasItsDescendantsAndNobodyElse) {
  Child child({"--listen", text(free_port()), "0"});
  const ProcessTree tree{.pid = child.pid(), .start_time = child.start_time(), .cgroup = ""};
  EXPECT_TRUE(is_member(tree, child.pid()));
  EXPECT_FALSE(is_member(tree, ::getpid()));
  EXPECT_FALSE(is_member(tree, 1));
}

TEST(ProcessTree, IsEmptyWhenItsPidWasGivenToAnother) {
  Child child({"--listen", text(free_port()), "0"});
  const ProcessTree tree{.pid = child.pid(), .start_time = child.start_time() + 1, .cgroup = ""};
  EXPECT_FALSE(is_member(tree, child.pid()));
}

TEST(SocketsOf, AreThoseOfTheTreeAlone) {
  const std::uint16_t port = free_port();
  Child child({"--listen", text(port), "0"});
  child.wait_for("listen");
  const Descriptor mine = listen_on("127.0.0.1");
  ListenProbe probe;
  const auto listed = probe.list();
  const OwnSockets own =
      sockets_of({.pid = child.pid(), .start_time = child.start_time(), .cgroup = ""});
  EXPECT_TRUE(own.hidden_users.empty());
  EXPECT_TRUE(has(own, *find(listed, port)));
  EXPECT_FALSE(has(own, *find(listed, port_of(mine))));
}

TEST(SocketsOf, ReadTheProcessesOfACgroup) {
  // A cgroup is known by its cgroup.procs alone: a folder with such a file does for the test.
  const std::uint16_t port = free_port();
  Child child({"--listen", text(port), "0"});
  child.wait_for("listen");
  std::string folder = "/tmp/rooster-probe-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const std::string file = folder + "/cgroup.procs";
  if (FILE* out = std::fopen(file.c_str(), "w")) {
    std::fprintf(out, "%d\n", child.pid());
    std::fclose(out);
  }
  ListenProbe probe;
  const ProcessTree tree{.pid = 1, .start_time = 0, .cgroup = folder};
  EXPECT_TRUE(is_member(tree, child.pid()));
  EXPECT_TRUE(has(sockets_of(tree), *find(probe.list(), port)));
  ::unlink(file.c_str());
  ::rmdir(folder.c_str());
}

// Runs `look` without root: what it may not read must be told by the user alone.
int as_nobody(const std::function<bool()>& look) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (::setresuid(65534, 65534, 65534) != 0) ::_exit(2);
    ::_exit(look() ? 0 : 1);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(SocketsOf, FallBackToTheUserWhereDescriptorsAreHidden) {
  if (::geteuid() != 0) return;  // without root there is no second user to try it with
  const std::uint16_t port = free_port();
  constexpr uid_t kMachinesUser = 200'123;
  Child child({"--listen", text(port), "0"}, kMachinesUser);
  child.wait_for("listen");
  const Descriptor roots = listen_on("127.0.0.1");
  const ProcessTree tree{.pid = child.pid(), .start_time = child.start_time(), .cgroup = ""};
  EXPECT_EQ(as_nobody([&] {
              ListenProbe probe;
              const auto listed = probe.list();
              const OwnSockets own = sockets_of(tree);
              return own.hidden_users == std::vector<std::uint32_t>{kMachinesUser} &&
                     has(own, *find(listed, port)) && !has(own, *find(listed, port_of(roots)));
            }),
            0);
}

}  // namespace
}  // namespace rooster::machines
