#include "proxy/connect_machine.hpp"

#include "net/dial.hpp"
#include "proxy/socket_stock.hpp"
#include "proxy/worker_context.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include <netinet/in.h>
#include <sys/socket.h>

namespace rooster::proxy {

namespace {

constexpr std::size_t kClosedForRoom = 16;  // idle connections, where descriptors have run out

const IpAddress kLoopback4 = IpAddress::v4(0x7F000001);

bool is_set(const IpAddress& address) {
  return address != IpAddress();
}

// One way to reach a machine.
struct Way {
  IpAddress to;
  bool from_hub = false;  // with the client's own address as source
};

// The ways to a machine in a namespace of its own, in the order they are tried.
class Ways {
 public:
  Ways(const machines::MachineView& machine, const DialWish& wish) {
    const bool is_private = is_set(wish.source);
    if (!is_private) add({kLoopback4});
    if (is_set(machine.private_address)) {
      // A source of another family than the private address can't be shown.
      add({machine.private_address, is_private && !wish.source.is_v4()});
    }
    if (is_set(machine.private_v4)) add({machine.private_v4});
    if (is_private && wish.is_declared) add({kLoopback4});
    if (wish.is_declared) add({*IpAddress::parse("::1")});
  }
  const Way* begin() const { return ways_.data(); }
  const Way* end() const { return ways_.data() + count_; }

 private:
  void add(Way way) { ways_[count_++] = way; }
  std::array<Way, 4> ways_{};
  std::size_t count_ = 0;
};

// The stock's sockets are of IPv6: IPv4 goes by mapped addresses.
sockaddr_in6 mapped(const IpAddress& address, std::uint16_t port) {
  sockaddr_in6 out{};
  out.sin6_family = AF_INET6;
  out.sin6_port = htons(port);
  std::memcpy(&out.sin6_addr, address.bytes().data(), address.bytes().size());
  return out;
}

template <class Call>
bool call_with(const sockaddr_in6& address, Call call) {
  return call(reinterpret_cast<const sockaddr*>(&address), socklen_t{sizeof address}) == 0;
}

std::optional<Error> begin_connect(int fd, const Way& way, const DialWish& wish) {
  const auto failed = [](const char* what) {
    return Error(Fault::UpstreamRefused, Reached::No, std::string(what) + std::strerror(errno));
  };
  if (way.from_hub) {
    // The port is chosen by connect(), which may take one that is in use to another machine.
    const int on = 1;
    ::setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    const bool bound = call_with(mapped(wish.source, 0), [fd](const sockaddr* to, socklen_t size) {
      return ::bind(fd, to, size);
    });
    if (!bound) return failed("bind to the client's address: ");
  }
  const bool begun = call_with(mapped(way.to, wish.port), [fd](const sockaddr* to, socklen_t size) {
    return ::connect(fd, to, size);
  });
  if (!begun && errno != EINPROGRESS && errno != EINTR) return failed("connect: ");
  return std::nullopt;
}

Task<UpstreamConnectionPtr> finish(WorkerContext& context, Waiter& waiter,
                                   const machines::MachineView& machine, Descriptor fd,
                                   std::uint16_t port) {
  net::tune_connection(fd.get());
  context.metrics.upstream_connects.add();
  auto connection = std::make_unique<UpstreamConnection>(
      context.loop, std::move(fd), std::uint8_t{0}, machine.load, machine.load_generation, port);
  const TimePoint began = context.loop.now();
  auto done = co_await net::connected(connection->stream, waiter, began + limits::kConnectTimeout);
  if (!done) co_return done.error();
  context.metrics.upstream_connect_time.add(
      std::chrono::duration_cast<std::chrono::microseconds>(context.loop.now() - began));
  co_return connection;
}

Task<UpstreamConnectionPtr> try_way(WorkerContext& context, Waiter& waiter,
                                    const machines::MachineView& machine, DialWish wish, Way way) {
  const TimePoint deadline = context.loop.now() + limits::kConnectTimeout;
  auto fd = way.from_hub ? co_await context.sockets->take_from_hub(waiter, deadline)
                         : co_await context.sockets->take(machine, waiter, deadline);
  if (!fd) co_return fd.error();
  if (auto failed = begin_connect(fd->get(), way, wish)) co_return *failed;
  co_return co_await finish(context, waiter, machine, std::move(*fd), wish.port);
}

Task<UpstreamConnectionPtr> open_in_namespace(WorkerContext& context, Waiter& waiter,
                                              const machines::MachineView& machine, DialWish wish) {
  Error last(Fault::UpstreamRefused, Reached::No);
  const Ways ways(machine, wish);
  for (const Way& way : ways) {
    auto opened = co_await try_way(context, waiter, machine, wish, way);
    if (opened || opened.error().fault != Fault::UpstreamRefused) co_return opened;
    last = std::move(opened.error());
  }
  if (!wish.is_declared) {
    auto probe = co_await try_way(context, waiter, machine, wish, {kLoopback4});
    if (probe) co_return Error(Fault::ListensOnLoopback, Reached::No);
  }
  co_return last;
}

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
                                            const machines::MachineView& machine, DialWish wish) {
  if (machine.netns && context.sockets != nullptr) {
    co_return co_await open_in_namespace(context, waiter, machine, wish);
  }
  const Endpoint endpoint{.address = machine.address, .port = wish.port};
  auto fd = net::start_connect(endpoint);
  if (!fd && fd.error().fault == Fault::DescriptorsExhausted) {
    context.pool.drop_oldest(kClosedForRoom);
    fd = net::start_connect(endpoint);
  }
  if (!fd) co_return fd.error();
  co_return co_await finish(context, waiter, machine, std::move(*fd), wish.port);
}

}  // namespace rooster::proxy
