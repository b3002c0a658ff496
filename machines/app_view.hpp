// AppView: all that a worker knows of one app. Built by control, immutable, adopted by each worker
// on its own thread (a fact); an exchange keeps the one it began with to its end.
#pragma once

#include "config/app_config.hpp"
#include "core/address.hpp"
#include "core/fault.hpp"
#include "core/ids.hpp"
#include "core/time.hpp"
#include "machines/load.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace rooster::machines {

struct AppWaiting;  // machines/wake_gate.hpp: the app's share of the waiting places

/// How far one process group of an app is from serving.
///
///   Asleep --wake--> Waking --ready--> Ready --idle--> Stopping --> Asleep
///                      |  ^                              ^ (a wish to wake is kept, then Waking
///                      again) v  | retry_at passed, or another wake
///                     Failed
enum class WakePhase : std::uint8_t { Asleep, Waking, Ready, Failed, Stopping };

struct WakeState {
  std::string group{};  ///< process group
  std::uint64_t generation =
      0;  ///< counts phases a wake may be asked for in: one command per generation
  WakePhase phase = WakePhase::Asleep;
  Fault fault = Fault::None;  ///< why it failed (phase Failed)
  std::string detail{};       ///< for the log
  TimePoint retry_at{};      ///< Failed: no wake before this; kNever: only an operator or a changed
                             ///< config mends it
  TimePoint stop_ends_at{};  ///< Stopping: SIGKILL comes by then
  bool autostart = true;     ///< false: only an operator starts it
};

/// A wake's milestones, for Server-Timing and the log; the epoch (0) where not reached.
struct WakeTimeline {
  TimePoint queued{};     ///< the command that began it arrived
  TimePoint started{};    ///< the process runs
  TimePoint listening{};  ///< it listens
  TimePoint ready{};      ///< its checks pass too
};

struct MachineView {
  MachineId id{};
  std::string region{};
  std::string group{};  ///< process group
  IpAddress address{};
  IpAddress private_address{};  ///< in its network (fdaa:…:2); unset where it has none
  IpAddress private_v4{};       ///< of its network namespace; unset where it has none
  bool netns =
      false;  ///< has a network namespace of its own: dialled through sockets made in there
  std::map<std::uint16_t, std::uint16_t>
      ports{};  ///< internal port -> the port it really listens on
  std::shared_ptr<MachineLoad> load{};
  std::uint16_t load_generation = 0;  ///< what Lease::try_take wants
  bool routable = false;              ///< ready, not cordoned, not draining: may be picked
  bool checks_passing = true;         ///< false: only if no other is left
  bool cordoned = false;
  bool awake = false;  ///< runs (ready or not); a suspended machine does not
  std::optional<WakeTimeline> timeline{};
  std::string fault{};  ///< why it is not running, for the operator

  /// The port behind a service (`external_port` matters only to services with internal_port 0).
  std::uint16_t port_for(const config::Service& service, std::uint16_t external_port = 0) const;
  Endpoint endpoint(const config::Service& service, std::uint16_t external_port = 0) const {
    return {.address = address, .port = port_for(service, external_port)};
  }
};

struct AppView {
  AppId id{};
  std::shared_ptr<const config::AppConfig> config{};
  NetworkId network{};  ///< the private network it lies in
  IpAddress flycast{};  ///< its services' private address; unset where it has none
  std::vector<MachineView> machines{};
  std::vector<WakeState> wakes{};  ///< one per process group, at least one
  std::shared_ptr<AppWaiting> waiting{};
  std::uint64_t epoch =
      0;                 ///< grows with every fact of this node; workers publish what they adopted
  bool removed = false;  ///< the app is gone: drop its routes

  /// Index into `wakes` of the group that carries `service` (its first; 0 where it names none).
  std::size_t group_of(const config::Service& service) const;
  const WakeState& wake_of(const config::Service& service) const {
    return wakes[group_of(service)];
  }
  /// Does `machine` carry `service`?
  bool carries(const MachineView& machine, const config::Service& service) const;
};

using AppViewPtr = std::shared_ptr<const AppView>;

}  // namespace rooster::machines
