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
    const bool is_own = own.has(socket);
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

Readiness::Readiness(Loop& loop, Events events)
    : events_(std::move(events)), timer_(loop, [this] { poll(); }) {}

void Readiness::watch(const MachineId& machine, ProcessTree tree, std::uint16_t port,
                      std::shared_ptr<ListenProbe> probe) {
  const TimePoint now = Clock::now();
  watched_[machine] = {.tree = std::move(tree),
                       .port = port,
                       .probe = std::move(probe),
                       .since = now,
                       .next_look = now};
  timer_.set(now);
}

void Readiness::forget(const MachineId& machine) {
  watched_.erase(machine);
}

// A look at /proc is due where a socket on the port has not been looked at yet, and now and then
// for the diagnosis.
bool Readiness::is_candidate(const Watched& watched,
                             const std::vector<ListeningSocket>& sockets) const {
  return std::ranges::any_of(sockets, [&watched](const ListeningSocket& socket) {
    return socket.port == watched.port && !contains(watched.foreign, socket.inode);
  });
}

ListenVerdict Readiness::look(Watched& watched, const std::vector<ListeningSocket>& sockets,
                              TimePoint now) {
  const bool is_due = now >= watched.next_look && now - watched.since >= kLookEach;
  if (!is_due && !is_candidate(watched, sockets)) return {};
  watched.next_look = now + (watched.tree.cgroup.empty() ? kCostlyLookEach : kLookEach);
  const bool is_alone = watched.probe != nullptr;
  ListenVerdict verdict =
      judge_listeners(watched.port, sockets, sockets_of_leader(watched.tree), is_alone);
  if (!verdict.is_listening) {
    verdict = judge_listeners(watched.port, sockets, sockets_of(watched.tree), is_alone);
  }
  if (verdict.is_listening) return verdict;
  watched.foreign.clear();
  for (const ListeningSocket& socket : sockets) {
    if (socket.port == watched.port) watched.foreign.push_back(socket.inode);
  }
  return verdict;
}

void Readiness::poll() {
  if (watched_.empty()) return;
  const TimePoint now = Clock::now();
  const std::vector<ListeningSocket> shared = probe_.list();
  std::vector<MachineId> ready;
  std::vector<std::pair<MachineId, ListenVerdict>> diagnosed;
  bool is_fast = false;
  for (auto& [id, watched] : watched_) {
    is_fast = is_fast || now - watched.since < kFastFor;
    ListenVerdict verdict = look(watched, watched.probe ? watched.probe->list() : shared, now);
    if (verdict.is_listening) {
      ready.push_back(id);
    } else if (verdict.fault != Fault::None) {
      diagnosed.emplace_back(id, std::move(verdict));
    }
  }
  for (auto& [id, verdict] : diagnosed) {
    events_.diagnosed(id, verdict.fault, std::move(verdict.detail));
  }
  for (const MachineId& id : ready) {
    watched_.erase(id);
    events_.listening(id);
  }
  if (!watched_.empty()) timer_.set(now + (is_fast ? Duration(kFast) : Duration(kSlow)));
}

}  // namespace rooster::machines
