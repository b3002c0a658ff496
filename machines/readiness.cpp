#include "machines/readiness.hpp"

#include <algorithm>
#include <utility>

namespace rooster::machines {

namespace {

using namespace std::chrono_literals;

constexpr auto kFast = 1ms;
constexpr auto kSlow = 5ms;
constexpr auto kFastFor = 2s;
constexpr auto kLookEach = 250ms;         // a look at the machine's processes, for the diagnosis
constexpr auto kCostlyLookEach = 1000ms;  // without a cgroup: at all of /proc

bool contains(const std::vector<std::uint64_t>& inodes, std::uint64_t inode) {
  return std::ranges::find(inodes, inode) != inodes.end();
}

}  // namespace

ListenVerdict judge_listeners(std::uint16_t port, const std::vector<ListeningSocket>& sockets,
                              const OwnSockets& own, bool has_own_network) {
  ListenVerdict verdict;
  const ListeningSocket* elsewhere = nullptr;
  const ListeningSocket* wrong_address = nullptr;
  bool is_taken = false;
  for (const ListeningSocket& socket : sockets) {
    const bool is_own = own.has(socket.inode, socket.uid);
    const bool is_reachable = has_own_network || socket.answers_loopback();
    if (socket.port == port && is_own && is_reachable) {
      verdict.is_listening = true;
      return verdict;
    }
    if (socket.port == port && is_own) wrong_address = &socket;
    if (socket.port == port && !is_own && socket.answers_loopback()) is_taken = true;
    if (socket.port != port && is_own) elsewhere = &socket;
  }
  const std::string wanted = std::to_string(port);
  if (wrong_address != nullptr) {
    verdict.fault = Fault::ListensElsewhere;
    verdict.detail = "it listens on " + Endpoint{wrong_address->address, port}.to_string() +
                     " only; let it listen on 0.0.0.0:" + wanted;
  } else if (elsewhere != nullptr) {
    verdict.fault = Fault::ListensElsewhere;
    verdict.detail = "it listens on " + Endpoint{elsewhere->address, elsewhere->port}.to_string() +
                     ", not on port " + wanted + "; change its port or internal_port";
  } else if (is_taken) {
    verdict.fault = Fault::PortTaken;
    verdict.detail =
        "port " + wanted + " is held by another process; free it, or use $PORT in the command";
  }
  return verdict;
}

Readiness::Readiness(Loop& loop, Events events, AskOwnSockets ask)
    : events_(std::move(events)), ask_(std::move(ask)), timer_(loop, [this] { poll(); }) {}

void Readiness::watch(const MachineId& machine, ProcessTree tree, std::uint16_t port,
                      std::shared_ptr<ListenProbe> probe) {
  const TimePoint now = Clock::now();
  watched_[machine] = {.serial = ++serial_,
                       .tree = std::move(tree),
                       .port = port,
                       .probe = std::move(probe),
                       .since = now,
                       .next_look = now};
  timer_.set(now);
}

void Readiness::forget(const MachineId& machine) {
  watched_.erase(machine);
}

// A look at its processes is due where a socket on the port has not been looked at yet, and now and
// then for the diagnosis.
bool Readiness::is_look_due(const Watched& watched, const std::vector<ListeningSocket>& sockets,
                            TimePoint now) {
  if (watched.is_asked) return false;
  if (now >= watched.next_look && now - watched.since >= kLookEach) return true;
  return std::ranges::any_of(sockets, [&watched](const ListeningSocket& socket) {
    return socket.port == watched.port && !contains(watched.foreign, socket.inode);
  });
}

// Its first process is asked for alone at first: that is cheap, and most often enough.
void Readiness::look(const MachineId& id, std::shared_ptr<const Sockets> sockets, Reach reach) {
  Watched& watched = watched_.find(id)->second;
  watched.is_asked = true;
  OwnSocketsQuestion question{.machine = id, .tree = watched.tree, .reach = reach};
  for (const ListeningSocket& socket : *sockets) question.inodes.push_back(socket.inode);
  ask_(std::move(question), [this, id, sockets = std::move(sockets), reach,
                             serial = watched.serial](const OwnSockets& own) {
    const auto found = watched_.find(id);
    if (found == watched_.end() || found->second.serial != serial) return;
    found->second.is_asked = false;
    const bool is_alone = found->second.probe != nullptr;
    ListenVerdict verdict = judge_listeners(found->second.port, *sockets, own, is_alone);
    if (!verdict.is_listening && reach == Reach::Leader) return look(id, sockets, Reach::Whole);
    conclude(id, *sockets, std::move(verdict));
  });
}

void Readiness::conclude(const MachineId& id, const Sockets& sockets, ListenVerdict verdict) {
  const auto found = watched_.find(id);
  if (verdict.is_listening) {
    watched_.erase(found);
    events_.listening(id);
    return;
  }
  Watched& watched = found->second;
  watched.next_look = Clock::now() + (watched.tree.cgroup.empty() ? kCostlyLookEach : kLookEach);
  watched.foreign.clear();
  for (const ListeningSocket& socket : sockets) {
    if (socket.port == watched.port) watched.foreign.push_back(socket.inode);
  }
  if (verdict.fault != Fault::None) {
    events_.diagnosed(id, verdict.fault, std::move(verdict.detail));
  }
}

void Readiness::poll() {
  if (watched_.empty()) return;
  const TimePoint now = Clock::now();
  const auto shared = std::make_shared<const Sockets>(probe_.list());
  std::vector<std::pair<MachineId, std::shared_ptr<const Sockets>>> due;
  bool is_fast = false;
  for (auto& [id, watched] : watched_) {
    is_fast = is_fast || now - watched.since < kFastFor;
    auto sockets = watched.probe ? std::make_shared<const Sockets>(watched.probe->list()) : shared;
    if (is_look_due(watched, *sockets, now)) due.emplace_back(id, std::move(sockets));
  }
  for (auto& [id, sockets] : due) {
    if (watched_.contains(id)) look(id, std::move(sockets), Reach::Leader);
  }
  if (!watched_.empty()) timer_.set(now + (is_fast ? Duration(kFast) : Duration(kSlow)));
}

}  // namespace rooster::machines
