#include "proxy/connect_machine.hpp"

#include "net/dial.hpp"
#include "proxy/worker_context.hpp"

#include <memory>
#include <utility>

namespace rooster::proxy {

namespace {

constexpr std::size_t kClosedForRoom = 16;  // idle connections, where descriptors have run out

}  // namespace

UpstreamConnectionPtr take_pooled(WorkerContext& context, const machines::MachineView& machine,
                                  const ConnectWish& wish) {
  const Duration max_age =
      wish.is_idempotent ? Duration(limits::kPoolIdle) : Duration(limits::kPoolIdleNonIdempotent);
  const UpstreamKey key{machine.load.get(), machine.load_generation, wish.port};
  UpstreamConnectionPtr pooled;
  if (wish.may_be_pooled) pooled = context.pool.take(key, context.loop.now(), max_age);
  (pooled ? context.metrics.pool_hits : context.metrics.pool_misses).add();
  return pooled;
}

Task<UpstreamConnectionPtr> open_connection(WorkerContext& context, Waiter& waiter,
                                            const machines::MachineView& machine,
                                            Endpoint endpoint) {
  auto fd = net::start_connect(endpoint);
  if (!fd && fd.error().fault == Fault::DescriptorsExhausted) {
    context.pool.drop_oldest(kClosedForRoom);
    fd = net::start_connect(endpoint);
  }
  if (!fd) co_return fd.error();
  net::tune_connection(fd->get());
  context.metrics.upstream_connects.add();
  auto connection =
      std::make_unique<UpstreamConnection>(context.loop, std::move(*fd), std::uint8_t{0},
                                           machine.load, machine.load_generation, endpoint.port);
  const TimePoint began = context.loop.now();
  auto done = co_await net::connected(connection->stream, waiter, began + limits::kConnectTimeout);
  if (!done) co_return done.error();
  context.metrics.upstream_connect_time.add(
      std::chrono::duration_cast<std::chrono::microseconds>(context.loop.now() - began));
  co_return connection;
}

}  // namespace rooster::proxy
