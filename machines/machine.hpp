// Machine: what control knows of one machine. Its states change only in coordinator*.cpp.
#pragma once

#include "core/address.hpp"
#include "core/fault.hpp"
#include "core/ids.hpp"
#include "core/time.hpp"
#include "machines/app_view.hpp"
#include "machines/load.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace rooster::machines {

///   Stopped --start--> Starting --ready--> Ready --close the word--> Draining
///      ^                  |                  ^                          | all workers adopted,
///      nothing in flight |                  | failed           | (cancelled by a wake)    v
///      +---- exited ------+------------------+------------- Stopping or Suspending
///                                                                       |
///   Suspended <----------------------- frozen --------------------------+   (resume: Suspended ->
///   Starting)
enum class MachineState : std::uint8_t {
  Stopped,
  Starting,
  Ready,
  Draining,
  Stopping,
  Suspending,
  Suspended,
};
std::string_view to_string(MachineState state);

/// Why a machine is being stopped.
enum class StopReason : std::uint8_t { Idle, Operator, Stale, Removed, WakeFailed };

struct ServiceCheckState {
  bool passing = false;
  bool known = false;
  std::string output{};  ///< of the last run, for `checks`
  WallTime updated{};
};

struct Machine {
  MachineId id{};
  std::string region{};
  std::uint32_t index = 0;
  MachineState state = MachineState::Stopped;
  std::shared_ptr<MachineLoad> load{};
  std::uint16_t load_generation = 0;

  // of this start
  IpAddress address = IpAddress::v4(0x7F000001);
  IpAddress private_address{};  // in its network; unset: there is none
  IpAddress private_v4{};       // in its network namespace, while it runs there
  bool has_namespaces = false;  // else it shares the host's network
  std::map<std::uint16_t, std::uint16_t> ports{};
  std::string fingerprint{};  // of the config it was started from
  int kill_signal = 2;
  Duration kill_timeout = std::chrono::seconds(5);
  std::int32_t pid = 0;
  bool is_listening = false;
  bool is_notified = false;
  bool is_resumed = false;                // the start is a resume
  std::optional<IpAddress> hello_from{};  // woken by a TLS hello alone
  std::uint32_t takes_when_ready = 0;     // leases taken until then: more means that requests came
  std::vector<ServiceCheckState> checks{};
  std::optional<WakeTimeline> timeline{};
  TimePoint wake_deadline = kNever;  // Starting: given up then
  Fault diagnosis = Fault::None;     // ListensElsewhere, PortTaken: what a timeout will be called
  std::string diagnosis_detail{};

  // Draining, Stopping
  StopReason stop_reason = StopReason::Idle;
  bool wants_suspend = false;
  std::uint64_t drain_epoch = 0;
  TimePoint epoch_deadline = kNever;
  TimePoint drain_deadline = kNever;
  TimePoint kill_at = kNever;
  bool is_killed = false;

  TimePoint stale_since = kNever;  // runs with an old config

  WallTime changed_at{};      // of the state
  std::uint32_t version = 0;  // counts the configs it was started with

  bool is_cordoned = false;
  bool is_held = false;     // stopped by an operator: no minimum starts it again
  bool is_surplus = false;  // configured no longer: forgotten once stopped
  Fault last_fault = Fault::None;
  std::string last_error{};

  bool runs() const { return state != MachineState::Stopped && state != MachineState::Suspended; }
  bool is_routable() const { return state == MachineState::Ready && !is_cordoned; }
  bool can_start() const {
    return (state == MachineState::Stopped || state == MachineState::Suspended) && !is_surplus;
  }
  bool checks_pass() const {
    for (const ServiceCheckState& check : checks) {
      if (!check.passing) return false;
    }
    return true;
  }
};

}  // namespace rooster::machines
