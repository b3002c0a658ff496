// The flow: take() lends the last socket of the shelf, or waits in its line. Whenever a shelf has
// less than half of a batch left, the next batch is asked for; a batch doubles as long as the one
// before was used up within a moment, so that a quiet machine holds few descriptors.
#include "proxy/socket_stock.hpp"

#include <algorithm>
#include <utility>

namespace rooster::proxy {

namespace {

constexpr std::size_t kFirstBatch = 4;
constexpr std::size_t kMaxBatch = 32;
constexpr auto kKeptFor = std::chrono::seconds(60);

}  // namespace

Task<Descriptor> SocketStock::take(const machines::MachineView& machine, Waiter& waiter,
                                   TimePoint deadline) {
  return take_from({machine.load.get(), machine.load_generation}, machine.id.value, waiter,
                   deadline);
}

Task<Descriptor> SocketStock::take_from_hub(Waiter& waiter, TimePoint deadline) {
  static const std::string kHub;
  return take_from({}, kHub, waiter, deadline);
}

Task<Descriptor> SocketStock::take_from(Key key, const std::string& machine, Waiter& waiter,
                                        TimePoint deadline) {
  auto [entry, is_new] = shelves_.try_emplace(key);
  Shelf& shelf = entry->second;
  if (is_new) {
    shelf.machine = machine;
    shelf.batch = kFirstBatch;
  }
  shelf.last_taken = loop_.now();
  if (!shelf.takers.is_linked() && !shelf.sockets.empty()) {
    Descriptor socket = std::move(shelf.sockets.back());
    shelf.sockets.pop_back();
    refill(key, shelf);
    co_return socket;
  }
  Taker taker;
  taker.waiter = &waiter;
  taker.link_before(shelf.takers);
  refill(key, shelf);
  while (!taker.is_answered) {
    const Woke woke = co_await waiter.wait(deadline);
    if (taker.is_answered) break;
    if (woke == Woke::Interrupted) co_return Error(waiter.interrupted_by(), Reached::No);
    if (woke == Woke::Deadline) {
      co_return Error(Fault::UpstreamConnectTimeout, Reached::No,
                      "no socket in the machine's namespace in time");
    }
  }
  if (!taker.socket) {
    co_return Error(Fault::UpstreamRefused, Reached::No, "the machine's namespace is gone");
  }
  co_return std::move(taker.socket);
}

void SocketStock::refill(const Key& key, Shelf& shelf) {
  if (shelf.ordered != 0 || shelf.sockets.size() > shelf.batch / 2) return;
  shelf.ordered = ++last_order_;
  orders_.emplace(shelf.ordered, key);
  order_({.id = shelf.ordered, .machine = shelf.machine, .count = shelf.batch});
  shelf.batch = std::min(2 * shelf.batch, kMaxBatch);
}

void SocketStock::deliver(std::uint64_t id, std::vector<Descriptor> sockets) {
  const auto order = orders_.find(id);
  if (order == orders_.end()) return;
  const Key key = order->second;
  orders_.erase(order);
  const auto found = shelves_.find(key);
  if (found == shelves_.end() || found->second.ordered != id) return;  // made for an earlier start
  Shelf& shelf = found->second;
  shelf.ordered = 0;
  if (sockets.empty()) return discard(found);
  for (Descriptor& socket : sockets) {
    if (shelf.takers.is_linked()) {
      answer(*static_cast<Taker*>(shelf.takers.next()), std::move(socket));
    } else {
      shelf.sockets.push_back(std::move(socket));
    }
  }
  if (shelf.takers.is_linked()) refill(key, shelf);
}

void SocketStock::answer(Taker& taker, Descriptor socket) {
  taker.unlink();
  taker.socket = std::move(socket);
  taker.is_answered = true;
  taker.waiter->notify();
}

void SocketStock::discard(std::unordered_map<Key, Shelf, Hash>::iterator shelf) {
  Link& takers = shelf->second.takers;
  while (takers.is_linked()) answer(*static_cast<Taker*>(takers.next()), Descriptor());
  shelves_.erase(shelf);
}

void SocketStock::drop(const machines::MachineLoad& load) {
  for (auto shelf = shelves_.begin(); shelf != shelves_.end();) {
    const auto next = std::next(shelf);
    if (shelf->first.load == &load) discard(shelf);
    shelf = next;
  }
}

void SocketStock::sweep() {
  for (auto shelf = shelves_.begin(); shelf != shelves_.end();) {
    const auto next = std::next(shelf);
    const bool is_used = shelf->second.takers.is_linked() || shelf->second.ordered != 0;
    if (!is_used && loop_.now() - shelf->second.last_taken > kKeptFor) discard(shelf);
    shelf = next;
  }
}

std::size_t SocketStock::size() const {
  std::size_t sum = 0;
  for (const auto& [key, shelf] : shelves_) sum += shelf.sockets.size();
  return sum;
}

}  // namespace rooster::proxy
