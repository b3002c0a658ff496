// Step 8 of an exchange or a TCP session: a connection to the machine that was picked, pooled or
// new.
#pragma once

#include "core/address.hpp"
#include "core/loop.hpp"
#include "core/task.hpp"
#include "machines/app_view.hpp"
#include "proxy/upstream_pool.hpp"

#include <cstdint>

namespace rooster::proxy {

struct WorkerContext;

struct ConnectWish {
  std::uint16_t port = 0;      ///< that the machine listens on
  bool is_idempotent = false;  ///< else only a connection that was in use a moment ago
  bool may_be_pooled = true;
};

/// An idle connection to the machine; nullptr: open one.
UpstreamConnectionPtr take_pooled(WorkerContext& context, const machines::MachineView& machine,
                                  const ConnectWish& wish);

/// Whose connection it will be, where the machine has a network namespace of its own.
struct DialWish {
  std::uint16_t port = 0;  ///< that the machine listens on
  /// A private client's: the machine sees it as the source. Unset: the edge dials, from within the
  /// machine's namespace, so that the app sees loopback.
  IpAddress source{};
  /// A service's port: loopback will do. No other loopback port is opened to the network.
  bool is_declared = true;
};

/// A new connection. A machine with a namespace of its own is tried at these, in order: for the
/// edge at loopback and its own addresses, for a private client at its private address, its private
/// IPv4, then loopback if declared. Errors, with Reached::No: as net::connected();
/// ListensOnLoopback; DescriptorsExhausted where closing idle ones did not help.
Task<UpstreamConnectionPtr> open_connection(WorkerContext& context, Waiter& waiter,
                                            const machines::MachineView& machine, DialWish wish);

}  // namespace rooster::proxy
