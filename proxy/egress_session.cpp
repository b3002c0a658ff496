#include "proxy/egress_session.hpp"

#include "core/private_address.hpp"
#include "net/dial.hpp"
#include "net/splice.hpp"
#include "proxy/tunnel.hpp"
#include "proxy/worker_context.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <utility>

#include <sys/socket.h>

namespace rooster::proxy {

namespace {

bool is_special_v4(const std::array<std::uint8_t, 16>& bytes) {
  const std::uint8_t a = bytes[12];
  const std::uint8_t b = bytes[13];
  // This host, loopback, link-local (169.254.169.254 among it), multicast and reserved.
  return a == 0 || a == 127 || (a == 169 && b == 254) || a >= 224;
}

bool is_special_v6(const std::array<std::uint8_t, 16>& bytes) {
  const bool is_link_local = bytes[0] == 0xFE && (bytes[1] & 0xC0U) == 0x80;
  const bool is_multicast = bytes[0] == 0xFF;
  const bool is_nat64 = bytes[0] == 0 && bytes[1] == 0x64 && bytes[2] == 0xFF && bytes[3] == 0x9B;
  const bool is_6to4 = bytes[0] == 0x20 && bytes[1] == 0x02;
  // ::, ::1 and IPv4-compatible addresses.
  const bool has_no_prefix =
      std::all_of(bytes.begin(), bytes.begin() + 10, [](std::uint8_t byte) { return byte == 0; });
  // fd00:ec2::/32: a cloud's metadata.
  const bool is_metadata =
      bytes[0] == 0xFD && bytes[1] == 0 && bytes[2] == 0x0E && bytes[3] == 0xC2;
  return is_link_local || is_multicast || is_nat64 || is_6to4 || has_no_prefix || is_metadata;
}

// A datagram socket that is "connected" to an address of this host gets the same one as its own.
bool is_own_address(const IpAddress& to) {
  sockaddr_storage address{};
  socklen_t size = Endpoint{.address = to, .port = 9}.to(address);
  const Descriptor probe(::socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!probe || ::connect(probe.get(), reinterpret_cast<sockaddr*>(&address), size) != 0) {
    return false;  // no route: the dial will say so
  }
  size = sizeof address;
  if (::getsockname(probe.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) return true;
  return Endpoint::from(address).address == to;
}

struct Story {
  const PrivateSource& source;
  Endpoint to;
  TimePoint started;
  WallTime wall;
  TunnelEnd end;
  Fault fault = Fault::None;
};

void record(WorkerContext& context, const Story& story) {
  const machines::AppViewPtr& view = context.view(story.source.app);
  AppCounters* const counters =
      view ? &context.metrics.apps.of(view->id, metric_seconds(context.loop.now())) : nullptr;
  context.metrics.count_session(counters, story.fault, story.end.bytes_in, story.end.bytes_out);
  std::array<char, 46> from;
  const RequestId id = context.request_ids.next(story.wall);
  const std::string target = story.to.to_string();
  context.access_log.push({.time = story.wall,
                           .request_id = id.view(),
                           .app = view ? std::string_view(view->config->name) : std::string_view(),
                           .client = {from.data(), story.source.address.write(from.data())},
                           .method = "EGRESS",
                           .host = story.source.name,
                           .target = target,
                           .bytes_in = story.end.bytes_in,
                           .bytes_out = story.end.bytes_out,
                           .total_us = static_cast<std::uint32_t>(
                               (context.loop.now() - story.started) / std::chrono::microseconds(1)),
                           .fault = story.fault,
                           .version = HttpVersion::Tcp});
}

Task<TunnelEnd> relay(WorkerContext& context, Stream& client, Waiter& waiter, Endpoint to) {
  auto dialled =
      co_await net::dial(to, waiter, context.loop.now() + Duration(limits::kEgressConnectTimeout));
  if (!dialled) co_return dialled.error();
  const std::unique_ptr<Stream> outside = std::move(*dialled);
  net::tune_connection(outside->fd());
  Tunnel tunnel({.context = context, .client = client, .app = *outside, .waiter = waiter});
  auto over = co_await tunnel.run();
  if (over && !over->app_done) net::reset_at_close(client);
  if (over && !over->client_done) net::reset_at_close(*outside);
  co_return over;
}

}  // namespace

bool may_leave(const IpAddress& to, const CidrList& denied) {
  const bool is_special = to.is_v4() ? is_special_v4(to.bytes()) : is_special_v6(to.bytes());
  return !is_special && !is_private(to) && !denied.contains(to) && !is_own_address(to);
}

Task<> run_egress(WorkerContext& context, Stream& client, Waiter& waiter, PrivateSource source,
                  Endpoint to, const CidrList& denied) {
  Story story{.source = source,
              .to = to,
              .started = context.loop.now(),
              .wall = context.wall_now(),
              .end = {}};
  context.metrics.tcp_open.add(1);
  Result<TunnelEnd> over = fail(Fault::EgressDenied);
  if (context.draining) {
    over = fail(Fault::Draining);
  } else if (may_leave(to.address, denied)) {
    over = co_await relay(context, client, waiter, to);
  }
  context.metrics.tcp_open.add(-1);
  if (over) {
    story.end = *over;
    story.fault = over->fault;
  } else {
    story.fault = over.error().fault;
    net::reset_at_close(client);
  }
  record(context, story);
  co_return {};
}

}  // namespace rooster::proxy
