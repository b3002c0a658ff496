// Strong ids and small value types that several folders share.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>

namespace rooster {

/// A number that can't be mistaken for another kind of number.
template <class Tag, class Number = std::uint32_t>
struct Id {
  Number value{};
  friend auto operator<=>(const Id&, const Id&) = default;
};

/// An app's identity on this node: dense, kept over reloads as long as the app's name stays.
using AppId = Id<struct AppTag>;

/// Index of a worker thread, from 0.
using WorkerId = Id<struct WorkerTag, std::uint8_t>;

/// At most this many workers: one bit each in a machine's waiters mask.
inline constexpr std::size_t kMaxWorkers = 64;

/// A private network's number: 32 random bits, the second and third group of its /48. 0 is reserved
/// for the node's own addresses (fdaa::3).
using NetworkId = Id<struct NetworkTag>;

/// A machine's name: 14 hexadecimal digits, stable as long as the machine is configured.
struct MachineId {
  std::string value;
  friend auto operator<=>(const MachineId&, const MachineId&) = default;
};

}  // namespace rooster

template <class Tag, class Number>
struct std::hash<rooster::Id<Tag, Number>> {
  std::size_t operator()(rooster::Id<Tag, Number> id) const noexcept {
    return std::hash<Number>{}(id.value);
  }
};
template <>
struct std::hash<rooster::MachineId> {
  std::size_t operator()(const rooster::MachineId& id) const noexcept {
    return std::hash<std::string>{}(id.value);
  }
};
