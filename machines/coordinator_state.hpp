// What the Coordinator keeps of an app and of a process group. Only coordinator*.cpp include this.
#pragma once

#include "machines/coordinator.hpp"

#include <memory>
#include <string>
#include <vector>

namespace rooster::machines {

struct Coordinator::Pool {
  std::string group;
  std::vector<std::unique_ptr<Machine>> machines;
  bool is_gone = false;  // the config has no such group any more

  // from the config
  std::string fingerprint;
  config::Concurrency concurrency;
  config::Autostop autostop = config::Autostop::Off;
  bool autostart = true;
  bool is_always_on = false;     // nothing would ever start it otherwise
  std::uint16_t first_port = 0;  // internal port whose listener says "ready"; 0: none
  std::size_t check_count = 0;

  // the wake
  WakePhase phase = WakePhase::Asleep;
  std::uint64_t generation = 1;
  Fault fault = Fault::None;
  std::string detail;
  TimePoint retry_at{};
  bool is_wanted = false;     // asked for, and not possible yet
  bool is_resolving = false;  // address driver
  WakeCommand waker;          // the last command
  TimePoint wake_deadline = kNever;
  int exits_this_wake = 0;
  FailureHistory failures;
  TimePoint minimum_after{};  // a crashed machine is started again for the minimum not before
  TimePoint scale_after{};    // no further start before: the first waiters must drain
  TimePoint ready_since = kNever;

  template <class Predicate>
  Machine* find_machine(Predicate predicate) const {
    for (const auto& machine : machines) {
      if (predicate(*machine)) return machine.get();
    }
    return nullptr;
  }
  Machine* in_state(MachineState state) const {
    return find_machine([&](const Machine& machine) { return machine.state == state; });
  }
  Machine* routable() const {
    return find_machine([](const Machine& machine) { return machine.is_routable(); });
  }
  std::size_t running_in(std::string_view region) const {
    std::size_t count = 0;
    for (const auto& machine : machines) {
      const bool counts =
          machine->state == MachineState::Starting || machine->state == MachineState::Ready;
      if (counts && machine->region == region && !machine->is_surplus) ++count;
    }
    return count;
  }
};

struct Coordinator::App {
  AppId id;
  std::shared_ptr<const config::AppConfig> config;
  std::vector<std::unique_ptr<Pool>> pools;
  std::shared_ptr<AppWaiting> waiting = std::make_shared<AppWaiting>();
  AppViewPtr view;
  bool is_removed = false;

  AppPlace place;  // in the private network

  std::string home_region;  // primary_region, else the node's
  std::size_t minimum(const Pool& pool, const std::string& region) const;
  std::size_t maximum(const std::string& region) const;
};

}  // namespace rooster::machines
