// Readiness: watches the machines that are starting until their own processes listen where they
// should (contract 1), and says what is wrong where they don't.
#pragma once

#include "core/fault.hpp"
#include "core/ids.hpp"
#include "core/loop.hpp"
#include "machines/listen_probe.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

namespace rooster::machines {

/// What the sockets of this moment say of one starting machine. Pure.
struct ListenVerdict {
  bool is_listening = false;
  Fault fault = Fault::None;  ///< ListensElsewhere, PortTaken; None: nothing to say yet
  std::string detail;
};
ListenVerdict judge_listeners(std::uint16_t port, const std::vector<ListeningSocket>& sockets,
                              const OwnSockets& own);

class Readiness {
 public:
  struct Events {
    std::function<void(const MachineId&)> listening;
    std::function<void(const MachineId&, Fault, std::string)> diagnosed;
  };
  Readiness(Loop& loop, Events events);

  /// Polls each millisecond for two seconds, then every five.
  void watch(const MachineId& machine, ProcessTree tree, std::uint16_t port);
  void forget(const MachineId& machine);

 private:
  struct Watched {
    ProcessTree tree;
    std::uint16_t port = 0;
    TimePoint since;
    TimePoint next_look;                 // at /proc, where a listener may be somebody else's
    std::vector<std::uint64_t> foreign;  // inodes on its port that were looked at and are not its
  };
  void poll();
  bool is_candidate(const Watched& watched, const std::vector<ListeningSocket>& sockets) const;

  Events events_;
  ListenProbe probe_;
  Timer timer_;
  std::unordered_map<MachineId, Watched> watched_;
};

}  // namespace rooster::machines
