// Step 4 of an exchange: a connection to the machine that was picked, pooled or new.
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

/// A new connection. Errors, with Reached::No: as net::connected(); DescriptorsExhausted where
/// closing idle ones did not help.
Task<UpstreamConnectionPtr> open_connection(WorkerContext& context, Waiter& waiter,
                                            const machines::MachineView& machine,
                                            Endpoint endpoint);

}  // namespace rooster::proxy
