// The keeper: the single-threaded privileged process that owns machines, listening sockets and the
// server's life.
#pragma once

#include "core/log.hpp"

#include <chrono>
#include <string>
#include <vector>

namespace rooster::keeper {

using namespace std::chrono_literals;

struct KeeperOptions {
  std::string data_dir;                  ///< holds keeper.state (for the sweep) and its lock
  std::vector<std::string> server_argv;  ///< the server's argv; argv[0] is only its name
  std::string server_path = "/proc/self/exe";
  bool restarts_server = true;                   ///< false: a dead server has no successor
  std::chrono::milliseconds orphan_grace = 10s;  ///< machines without a server are kept this long
  int max_crashes = 5;                           ///< this many within crash_window: give up, exit 1
  std::chrono::milliseconds crash_window = 30s;
  bool uses_cgroup = true;  ///< false: never, though there may be cgroup2
  Log::Options log = {};
};

/// Sweeps what a killed predecessor left, starts the server and serves it until both are done. Call
/// it before any thread starts: it forks. The server finds its channel by connect_inherited().
/// Returns the process's exit code: the server's own where it ended by itself; 1 after too many
/// crashes, or when another keeper holds data_dir.
int run_keeper(KeeperOptions options);

}  // namespace rooster::keeper
