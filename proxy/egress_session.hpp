// EgressSession: a machine's connection out of the private networks, dialled again from the node's
// own network.
#pragma once

#include "core/address.hpp"
#include "core/stream.hpp"
#include "core/task.hpp"
#include "proxy/client_address.hpp"
#include "proxy/private_table.hpp"

namespace rooster::proxy {

struct WorkerContext;

/// May a machine go there? Never to loopback, link-local, multicast, fdaa::/16, what embeds an IPv4
/// address, or this node itself (asked of the kernel).
bool may_leave(const IpAddress& to, const CidrList& denied);

/// Dials and relays to the end; logs and counts. A failure leaves `client` to be reset by its
/// close.
Task<> run_egress(WorkerContext& context, Stream& client, Waiter& waiter, PrivateSource source,
                  Endpoint to, const CidrList& denied);

}  // namespace rooster::proxy
