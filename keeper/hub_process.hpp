// HubProcess: the process that owns the private side of a node or of a client: a network namespace
// with the TUN device, the rules that catch connections, and the veth ends of machines. It serves
// typed requests (Hub, Catch, Sockets, Attach, Detach of protocol.hpp); all of it dies with it and
// with the descriptors it gave away.
#pragma once

#include "keeper/client.hpp"
#include "keeper/protocol.hpp"

#include <expected>
#include <string>
#include <utility>

#include <sys/types.h>

namespace rooster::keeper {

class HubProcess {
 public:
  /// Forks it. Call it before any thread starts. Without root it enters a user namespace of its
  /// own, in which only the caller's user and group exist. The error is a sentence for a person.
  static std::expected<HubProcess, std::string> start();

  /// Another process for the namespaces of one that died: what lies in them lives on. The next
  /// requests are Hub with is_again and an Attach with its namespace for each machine.
  static std::expected<HubProcess, std::string> restart(HubProcess old);

  HubProcess(HubProcess&&) noexcept = default;
  HubProcess& operator=(HubProcess&& other) noexcept;
  /// Kills it; whoever watches children by waitid(P_ALL) calls release() first.
  ~HubProcess();

  pid_t pid() const { return pid_.value; }
  /// Its reaping is the caller's from now on.
  pid_t release() { return std::exchange(pid_.value, 0); }

  /// The way to it: call() at start-up, request() with fd() watched later.
  Client& client() { return client_; }
  /// The user namespace it made, not open where it made none; and its network namespace.
  int user_namespace() const { return user_.get(); }
  int network_namespace() const { return network_.get(); }

 private:
  struct Pid {
    pid_t value = 0;
    Pid() = default;
    explicit Pid(pid_t pid) : value(pid) {}
    Pid(Pid&& other) noexcept : value(std::exchange(other.value, 0)) {}
  };

  static std::expected<HubProcess, std::string> start_in(Descriptor user, Descriptor network);
  HubProcess(pid_t pid, Descriptor channel, Descriptor user, Descriptor network);

  Pid pid_;
  Client client_;
  Descriptor user_, network_;
};

}  // namespace rooster::keeper
