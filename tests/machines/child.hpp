// Child: this test program again, as an app: it listens late, somewhere else, or says READY=1.
#pragma once

#include "core/descriptor.hpp"

#include <cstdint>
#include <string>
#include <vector>

#include <sys/types.h>

namespace rooster::machines::apps {

/// The path of this program, for commands that run it again.
std::string own_program();

/// `--listen PORT DELAY_MS [ADDRESS]`: prints "pid N", listens after the delay, prints "listen NS"
/// with its clock's stamp, and runs on. `--daemon ...`: the same in a session of its own, of which
/// the parent knows nothing, while the first process runs on. `--notify PORT FILE`: prints its
/// NOTIFY_SOCKET, and says READY=1 there once FILE exists.
int run_as_app(const std::vector<std::string>& arguments);

/// A port of loopback's that nobody has at this moment.
std::uint16_t free_port();

/// A listening socket of this process; port 0: the kernel's choice.
Descriptor listen_on(const std::string& address, std::uint16_t port = 0, bool v6_only = false);
std::uint16_t port_of(const Descriptor& socket);

class Child {
 public:
  /// Forks and executes this program with `arguments`; as another user where `uid` is not 0.
  explicit Child(const std::vector<std::string>& arguments, uid_t uid = 0);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  pid_t pid() const { return pid_; }
  std::uint64_t start_time() const;
  /// The number behind `word` once the child has printed such a line; fails the test after ten
  /// seconds.
  std::uint64_t wait_for(const std::string& word);

 private:
  pid_t pid_ = 0;
  Descriptor output_;
  std::string read_;
  std::vector<pid_t> others_;
};

}  // namespace rooster::machines::apps
