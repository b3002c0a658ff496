// SocketStock: sockets that were made in other network namespaces (a machine's, the hub's), which
// only the keeper can do. Asked for in batches ahead of need; one stock per worker, on its thread.
#pragma once

#include "core/descriptor.hpp"
#include "core/loop.hpp"
#include "core/task.hpp"
#include "core/time.hpp"
#include "machines/app_view.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

namespace rooster::proxy {

/// What is asked for: IPv6 stream sockets (which reach IPv4 by mapped addresses), non-blocking.
struct SocketOrder {
  std::uint64_t id = 0;   ///< for SocketStock::deliver()
  std::string machine{};  ///< "": the hub's namespace, and they may bind any address
  std::size_t count = 0;
};

class SocketStock {
 public:
  /// `order` asks for sockets; what comes of it is told by deliver(), soon, and also if it failed.
  /// It must not call back into the stock.
  explicit SocketStock(Loop& loop, std::function<void(SocketOrder)> order)
      : loop_(loop), order_(std::move(order)) {}
  SocketStock(const SocketStock&) = delete;
  SocketStock& operator=(const SocketStock&) = delete;

  /// A socket in the machine's namespace (of this start of it). Errors, with Reached::No:
  /// UpstreamRefused where there is no such namespace any more, UpstreamConnectTimeout at the
  /// deadline, the interruption's.
  Task<Descriptor> take(const machines::MachineView& machine, Waiter& waiter, TimePoint deadline);
  /// A transparent socket in the hub.
  Task<Descriptor> take_from_hub(Waiter& waiter, TimePoint deadline);

  /// What an order gave; fewer than asked for, or none, where it failed.
  void deliver(std::uint64_t id, std::vector<Descriptor> sockets);
  /// The machine runs no longer, or has been started anew: its namespace is gone.
  void drop(const machines::MachineLoad& load);
  /// Closes what nobody has asked for in a while. Call about once a second.
  void sweep();

  /// Sockets in stock.
  std::size_t size() const;

 private:
  struct Key {
    const machines::MachineLoad* load = nullptr;  // null: the hub
    std::uint16_t generation = 0;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct Hash {
    std::size_t operator()(const Key& key) const noexcept {
      return (reinterpret_cast<std::uintptr_t>(key.load) >> 6) ^ key.generation;
    }
  };
  struct Taker : Link {
    Waiter* waiter = nullptr;
    Descriptor socket;
    bool is_answered = false;
  };
  struct Shelf {
    std::string machine;
    std::vector<Descriptor> sockets;
    Link takers;  // of Takers, first come first served
    std::size_t batch = 0;
    std::uint64_t ordered = 0;  // the id of the order that is on its way; 0: none
    TimePoint last_taken{};
  };

  Task<Descriptor> take_from(Key key, const std::string& machine, Waiter& waiter,
                             TimePoint deadline);
  void refill(const Key& key, Shelf& shelf);
  static void answer(Taker& taker, Descriptor socket);
  void discard(std::unordered_map<Key, Shelf, Hash>::iterator shelf);

  Loop& loop_;
  std::function<void(SocketOrder)> order_;
  std::unordered_map<Key, Shelf, Hash> shelves_;
  std::unordered_map<std::uint64_t, Key> orders_;
  std::uint64_t last_order_ = 0;
};

}  // namespace rooster::proxy
