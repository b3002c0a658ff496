// KeeperRun: a real keeper in a forked child. Its server is this test program again (main.cpp),
// which hands its channel to the test and then only obeys: so the test itself is the client.
#pragma once

#include "keeper/client.hpp"
#include "keeper/keeper.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <sys/types.h>

namespace rooster::keeper {

inline constexpr std::chrono::seconds kPatience{20};

/// Calls `condition` until it holds, at most kPatience; false if it never did.
bool eventually(const std::function<bool()>& condition);

/// One server of the keeper, driven by the test.
class Server {
 public:
  Server(pid_t pid, Descriptor control, Descriptor channel);
  pid_t pid() const { return pid_; }
  Client& client() { return client_; }

  template <class T>
  T call(Request request) {
    Reply reply = client_.call(std::move(request), kPatience);
    if (auto* wanted = std::get_if<T>(&reply)) return std::move(*wanted);
    ADD_FAILURE() << "another reply: index " << reply.index() << ' ' << text_of(reply);
    return T{};
  }
  std::optional<Exited> next_exit();
  std::optional<ExecExited> next_exec_exit();
  std::vector<Alive> list();
  /// Lets the server process end with this code.
  void exit_with(char code);
  /// True once the server has got SIGHUP.
  bool got_hangup();

 private:
  static std::string text_of(const Reply& reply);
  pid_t pid_;
  Descriptor control_;
  Client client_;
  std::deque<Exited> exits_;
  std::deque<ExecExited> exec_exits_;
};

class KeeperRun {
 public:
  explicit KeeperRun(const std::function<void(KeeperOptions&)>& adjust = {});
  ~KeeperRun();
  KeeperRun(const KeeperRun&) = delete;
  KeeperRun& operator=(const KeeperRun&) = delete;

  pid_t pid() const { return pid_; }
  /// The next server that the keeper starts.
  std::unique_ptr<Server> accept_server();
  void signal(int signo) const { ::kill(pid_, signo); }
  /// The keeper's exit code, -signal if one killed it; empty if it doesn't end.
  std::optional<int> wait_for_exit();
  /// Starts another keeper on the same data directory.
  void start_again();
  const std::filesystem::path& directory() const { return directory_; }

 private:
  std::filesystem::path directory_;
  KeeperOptions options_;
  Descriptor listener_;
  pid_t pid_ = 0;
};

/// A machine that runs a shell script.
Spawn shell(const std::string& machine, const std::string& script);
/// Reads until `text` has come, at most kPatience; all that came.
std::string read_until(int fd, const std::string& text);
/// The file's content without its last newline, once it has one.
std::string wait_for_line(const std::filesystem::path& path);
bool is_alive(pid_t pid);

/// What it does as a machine's command: says READY=1 to its NOTIFY_SOCKET, and sleeps.
int run_test_notifier();
/// What the test program does as the keeper's server.
int run_test_server(const std::string& socket_name);

}  // namespace rooster::keeper
