#include "proxy/pick_machine.hpp"

#include "machines/wake_gate.hpp"
#include "proxy/head_line.hpp"

#include <algorithm>
#include <optional>
#include <tuple>

namespace rooster::proxy {
namespace {

using machines::AppView;
using machines::MachineView;

// Smaller is better, member by member.
struct Rank {
  bool failing = false;
  std::uint32_t region = 0;
  std::uint64_t distance = 0;
  bool over_soft = false;
  std::uint32_t in_flight = 0;
  friend auto operator<=>(const Rank&, const Rank&) = default;
};

// Place of a region in a list; nullopt: not in it. "any" stands for all.
std::optional<std::uint32_t> place_in(std::string_view list, std::string_view region) {
  TokenList wanted(list);
  std::uint32_t place = 0;
  for (auto name = wanted.next(); !name.empty(); name = wanted.next(), ++place) {
    if (name == region || name == "any") return place;
  }
  return std::nullopt;
}

// nullopt: this region will not do.
std::optional<std::uint32_t> rank_region(const MachineView& machine, const Steering& steering) {
  if (!steering.prefer_instance.empty() && machine.id.value == steering.prefer_instance) return 0;
  if (!steering.force_regions.empty()) {
    const auto place = place_in(steering.force_regions, machine.region);
    if (!place) return std::nullopt;
    return *place + 1;
  }
  if (!steering.prefer_regions.empty()) {
    if (const auto place = place_in(steering.prefer_regions, machine.region)) return *place + 1;
  }
  // More regions than any list can name stand before these two.
  return machine.region == steering.own_region ? UINT32_MAX - 1 : UINT32_MAX;
}

// How far `machine` is from these requests: with a machine gone, only its own ones move.
std::uint64_t distance_to(const MachineView& machine, std::string_view together) {
  if (together.empty()) return 0;
  std::uint64_t hash = 0xCBF29CE484222325u;  // FNV-1a, then a mixing so that every bit counts
  for (const std::string_view part : {together, std::string_view(machine.id.value)}) {
    for (const char c : part) {
      hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
    }
  }
  hash = (hash ^ (hash >> 33)) * 0xFF51AFD7ED558CCDu;
  return hash ^ (hash >> 33);
}

bool is_candidate(const AppView& view, const MachineView& machine, const config::Service& service,
                  const Steering& steering) {
  if (!machine.routable || !machine.load || !view.carries(machine, service)) return false;
  if (!steering.force_group.empty() && machine.group != steering.force_group) return false;
  return steering.force_instance.empty() || machine.id.value == steering.force_instance;
}

}  // namespace

bool PickHistory::has(std::size_t index) const {
  return std::find(tried_.begin(), tried_.begin() + static_cast<std::ptrdiff_t>(count_),
                   static_cast<std::uint32_t>(index)) !=
         tried_.begin() + static_cast<std::ptrdiff_t>(count_);
}

std::expected<std::size_t, NoMachine> pick_machine(const AppView& view,
                                                   const config::Service& service,
                                                   const PickHistory& tried, std::uint64_t random,
                                                   const Steering& steering) {
  std::optional<std::size_t> best;
  Rank best_rank;
  std::uint64_t equals = 0;
  bool any_tried = false;
  bool any_full = false;
  bool passing_full = false;
  for (std::size_t i = 0; i < view.machines.size(); ++i) {
    const MachineView& machine = view.machines[i];
    if (!is_candidate(view, machine, service, steering)) continue;
    const auto region = rank_region(machine, steering);
    if (!region) continue;
    const machines::LoadWord word = machine.load->read();
    if (word.closed || word.generation != machine.load_generation) continue;
    if (tried.has(i)) {
      any_tried = true;
      continue;
    }
    if (word.in_flight >= machines::lease_limit(machine, service)) {
      any_full = true;
      passing_full = passing_full || machine.checks_passing;
      continue;
    }
    const Rank rank{.failing = !machine.checks_passing,
                    .region = *region,
                    .distance = distance_to(machine, steering.together),
                    .over_soft = word.in_flight >= service.concurrency.soft_limit,
                    .in_flight = word.in_flight};
    if (best && rank > best_rank) continue;
    equals = best && rank == best_rank ? equals + 1 : 1;
    best_rank = rank;
    // One of n equals, each with the same chance.
    if (equals == 1 || random % equals == 0) best = i;
  }
  // A machine that fails its checks doesn't take what a healthy one will soon have room for.
  if (best && best_rank.failing && passing_full) return std::unexpected(NoMachine::AtHardLimit);
  if (best) return *best;
  if (any_full) return std::unexpected(NoMachine::AtHardLimit);
  return std::unexpected(any_tried ? NoMachine::AllTried : NoMachine::NoneReady);
}

}  // namespace rooster::proxy
