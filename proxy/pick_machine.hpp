// Which machine gets the exchange (step 7): a pure function of the app's view and the loads of this
// moment.
#pragma once

#include "core/limits.hpp"
#include "machines/app_view.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <string_view>

namespace rooster::proxy {

/// The machines of one view that this exchange has been to already.
class PickHistory {
 public:
  void add(std::size_t index) {
    if (count_ < tried_.size()) tried_[count_++] = static_cast<std::uint32_t>(index);
  }
  bool has(std::size_t index) const;
  /// The view has changed: its indexes mean nothing any more.
  void clear() { count_ = 0; }

 private:
  std::array<std::uint32_t, limits::kMaxAttempts> tried_{};
  std::size_t count_ = 0;
};

/// Where the request, or this node, would have it. Empty: no wish.
struct Steering {
  std::string_view own_region = {};       ///< nearest: taken before all others
  std::string_view prefer_regions = {};   ///< Fly-Prefer-Region: a list in order, then any
  std::string_view force_regions = {};    ///< Fly-Force-Region: a list in order, no other
  std::string_view prefer_instance = {};  ///< Fly-Prefer-Instance-Id
  std::string_view force_instance = {};   ///< Fly-Force-Instance-Id
  std::string_view force_group = {};      ///< process group
  std::string_view together = {};         ///< equal ones meet at one machine (rendezvous hashing)
};

enum class NoMachine : std::uint8_t {
  NoneReady,    ///< none that could serve it is routable: wait for a wake
  AtHardLimit,  ///< all of them are full: wait for a slot
  AllTried,     ///< the exchange has been to every one
};

/// Index into view.machines, or why there is none. In this order: not tried, checks passing (all
/// failing: any), region, `together`, load bucket [0, soft) before [soft, hard), least loaded;
/// `random` decides between equals. A machine at its hard limit, or one whose word is closed, is
/// never picked.
std::expected<std::size_t, NoMachine> pick_machine(const machines::AppView& view,
                                                   const config::Service& service,
                                                   const PickHistory& tried, std::uint64_t random,
                                                   const Steering& steering = {});

}  // namespace rooster::proxy
