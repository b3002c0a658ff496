#include "proxy/h2_upstream_pool.hpp"

#include "proxy/worker_context.hpp"

#include <algorithm>
#include <utility>

namespace rooster::proxy {

namespace {

UpstreamKey key_of(const UpstreamConnection& connection) {
  return {connection.load.get(), connection.generation, connection.port};
}

// Another exchange opens a connection: its end is waited for.
Task<> wait_for_dial(Waiter& waiter, std::shared_ptr<H2UpstreamPool::Dial> dial) {
  dial->waiters.push_back(&waiter);
  const TimePoint deadline =
      waiter.loop().now() + limits::kConnectTimeout + 2 * Duration(limits::kTick);
  Result<> result;
  while (!dial->is_over && result) {
    const Woke woke = co_await waiter.wait(deadline);
    if (woke == Woke::Interrupted) {
      result = fail(Error(waiter.interrupted_by(), Reached::No));
    } else if (woke == Woke::Deadline && !dial->is_over) {
      result = fail(Error(Fault::UpstreamConnectTimeout, Reached::No));
    }
  }
  std::erase(dial->waiters, &waiter);
  if (result && dial->error) co_return *dial->error;
  co_return result;
}

}  // namespace

H2UpstreamConnectionPtr H2UpstreamPool::find(const UpstreamKey& key, TimePoint now,
                                             Duration max_idle) const {
  const auto place = places_.find(key);
  if (place == places_.end()) return nullptr;
  // The oldest first: the later ones run empty when the load falls, and close.
  for (const auto& connection : place->second.connections) {
    const TimePoint idle_since = connection->idle_since();
    const bool is_fresh = idle_since == kNever || now - idle_since < max_idle;
    if (is_fresh && connection->has_room()) return connection;
  }
  return nullptr;
}

void H2UpstreamPool::add(H2UpstreamConnectionPtr connection) {
  places_[key_of(connection->connection())].connections.push_back(std::move(connection));
}

void H2UpstreamPool::remove(const H2UpstreamConnection& connection) {
  const auto place = places_.find(key_of(connection.connection()));
  if (place == places_.end()) return;
  place->second.expected_streams = std::max<std::uint32_t>(1, connection.max_streams());
  std::erase_if(place->second.connections,
                [&connection](const auto& one) { return one.get() == &connection; });
  if (place->second.connections.empty() && !place->second.dial) places_.erase(place);
}

void H2UpstreamPool::drop(const machines::MachineLoad& load) {
  for (auto& [key, place] : places_) {
    if (key.load != &load) continue;
    for (const auto& connection : place.connections) connection->close();
  }
}

std::size_t H2UpstreamPool::size() const {
  std::size_t all = 0;
  for (const auto& [key, place] : places_) all += place.connections.size();
  return all;
}

std::shared_ptr<H2UpstreamPool::Dial> H2UpstreamPool::find_dial(const UpstreamKey& key) const {
  const auto place = places_.find(key);
  return place == places_.end() ? nullptr : place->second.dial;
}

std::shared_ptr<H2UpstreamPool::Dial> H2UpstreamPool::begin_dial(const UpstreamKey& key) {
  return places_[key].dial = std::make_shared<Dial>();
}

void H2UpstreamPool::end_dial(const UpstreamKey& key, std::optional<Error> error) {
  const auto place = places_.find(key);
  const std::shared_ptr<Dial> dial = std::exchange(place->second.dial, nullptr);
  dial->is_over = true;
  dial->error = std::move(error);
  for (Waiter* waiter : dial->waiters) waiter->notify();
  if (place->second.connections.empty()) places_.erase(place);
}

std::uint32_t H2UpstreamPool::expected_streams(const UpstreamKey& key) const {
  const auto place = places_.find(key);
  if (place == places_.end()) return limits::kUpstreamStreams;
  const auto& connections = place->second.connections;
  return connections.empty() ? place->second.expected_streams
                             : std::max<std::uint32_t>(1, connections.back()->max_streams());
}

Task<H2UpstreamConnectionPtr> take_h2_connection(WorkerContext& context, Waiter& waiter,
                                                 const machines::MachineView& machine,
                                                 ConnectWish wish) {
  H2UpstreamPool& pool = context.h2_upstreams;
  const UpstreamKey key{machine.load.get(), machine.load_generation, wish.port};
  const Duration max_idle =
      wish.is_idempotent ? Duration(limits::kPoolIdle) : Duration(limits::kPoolIdleNonIdempotent);
  while (true) {
    if (auto found = pool.find(key, context.loop.now(), max_idle)) {
      context.metrics.pool_hits.add();
      co_return found;
    }
    auto dial = pool.find_dial(key);
    if (!dial) break;
    auto waited = co_await wait_for_dial(waiter, std::move(dial));
    if (!waited) co_return waited.error();
  }
  context.metrics.pool_misses.add();
  const std::shared_ptr<machines::MachineLoad> load = machine.load;  // keeps the key's address
  pool.begin_dial(key);
  auto opened = co_await open_connection(context, waiter, machine, {.port = wish.port});
  if (!opened) {
    // Why this exchange ended is not the others' business: they try for themselves.
    const bool is_own = waiter.is_interrupted();
    pool.end_dial(key, is_own ? std::nullopt : std::optional(opened.error()));
    co_return opened.error();
  }
  auto connection = std::make_shared<H2UpstreamConnection>(context, std::move(*opened),
                                                           pool.expected_streams(key));
  pool.add(connection);
  pool.end_dial(key, std::nullopt);
  context.sessions.spawn(H2UpstreamConnection::run(connection));
  co_return connection;
}

}  // namespace rooster::proxy
