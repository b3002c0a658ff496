// Readiness: watches the machines that are starting until their own processes listen where they
// should (contract 1), and says what is wrong where they don't.
#pragma once

#include "core/fault.hpp"
#include "core/ids.hpp"
#include "core/loop.hpp"
#include "machines/listen_probe.hpp"

#include <cstdint>
#include <functional>
#include <memory>
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
/// `has_own_network`: the machine is alone there, and dialled at any of its addresses.
ListenVerdict judge_listeners(std::uint16_t port, const std::vector<ListeningSocket>& sockets,
                              const OwnSockets& own, bool has_own_network = false);

/// Which of the listening sockets `inodes` are the machine's own.
struct OwnSocketsQuestion {
  enum class Reach : std::uint8_t { Leader, Whole };  ///< its first process, or all of them
  MachineId machine;
  ProcessTree tree;
  Reach reach = Reach::Leader;
  std::vector<std::uint64_t> inodes{};
};
/// Answers exactly once, at once or later, on the loop's thread.
using AskOwnSockets =
    std::function<void(OwnSocketsQuestion, std::function<void(const OwnSockets&)>)>;

class Readiness {
 public:
  struct Events {
    std::function<void(const MachineId&)> listening;
    std::function<void(const MachineId&, Fault, std::string)> diagnosed;
  };
  Readiness(Loop& loop, Events events, AskOwnSockets ask);

  /// Polls each millisecond for two seconds, then every five. `probe`: of the machine's own
  /// network namespace, if it has one.
  void watch(const MachineId& machine, ProcessTree tree, std::uint16_t port,
             std::shared_ptr<ListenProbe> probe = {});
  void forget(const MachineId& machine);

 private:
  using Reach = OwnSocketsQuestion::Reach;
  using Sockets = std::vector<ListeningSocket>;
  struct Watched {
    std::uint64_t serial = 0;
    ProcessTree tree;
    std::uint16_t port = 0;
    std::shared_ptr<ListenProbe> probe;  // of its own network
    TimePoint since;
    TimePoint next_look;  // at its processes, where a listener may be somebody else's
    std::vector<std::uint64_t> foreign{};  // inodes on its port that were looked at, and not its
    bool is_asked = false;                 // an answer is under way
  };
  void poll();
  static bool is_look_due(const Watched& watched, const Sockets& sockets, TimePoint now);
  void look(const MachineId& id, std::shared_ptr<const Sockets> sockets, Reach reach);
  void conclude(const MachineId& id, const Sockets& sockets, ListenVerdict verdict);

  Events events_;
  AskOwnSockets ask_;
  std::uint64_t serial_ = 0;
  ListenProbe probe_;
  Timer timer_;
  std::unordered_map<MachineId, Watched> watched_;
};

}  // namespace rooster::machines
