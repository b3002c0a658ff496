// Drivers: does what the coordinator orders, and reports what happens. One small interface over
// what can run a machine: the process driver (by the keeper) and the address driver (an upstream
// that can't be started).
#pragma once

#include "core/loop.hpp"
#include "keeper/client.hpp"
#include "machines/coordinator.hpp"
#include "net/resolver.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace rooster::machines {

/// What drivers report; on control's thread, never from inside Drivers::run().
struct DriverEvents {
  /// Comes before started(): its IPv4 address in a network namespace of its own; unset: it shares
  /// the host's network. May be empty.
  std::function<void(const MachineId&, const IpAddress& private_v4)> placed;
  std::function<void(const MachineId&, std::int32_t pid)> started;
  std::function<void(const MachineId&, Fault, std::string detail)> start_failed;
  std::function<void(const MachineId&)> listening;
  std::function<void(const MachineId&, Fault, std::string detail)> diagnosed;
  std::function<void(const MachineId&)> notified;
  std::function<void(const MachineId&, std::size_t check, bool passing, std::string output)>
      checked;
  std::function<void(const MachineId&, ExitStatus, std::string last_output)> exited;
  std::function<void(const MachineId&, bool done)> suspended;
  std::function<void(const MachineId&, bool done)> resumed;
  std::function<void(AppId, const std::vector<IpAddress>&)> resolved;
  /// The user of an app whose file names none; nullopt: the keeper's own.
  std::function<std::optional<std::uint32_t>(const std::string& app)> uid_for;
  /// What a machine wrote, in pieces as they came.
  std::function<void(const MachineId&, std::string_view)> output;
};

class Drivers {
 public:
  Drivers(Loop& loop, keeper::Client& keeper, net::Resolver& resolver,
          const Coordinator& coordinator, DriverEvents events);
  ~Drivers();
  Drivers(const Drivers&) = delete;
  Drivers& operator=(const Drivers&) = delete;

  void run(DriverCommand command);
  /// A machine that a predecessor's server started goes on under this one: its output and readiness
  /// are watched.
  void adopt(AppId app, keeper::Alive machine);
  /// The keeper's word that a machine has ended.
  void on_exited(const keeper::Exited& event);
  /// No further checks or probes; call before the loop ends.
  void stop(std::move_only_function<void()> done);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rooster::machines
