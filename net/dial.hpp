// dial: a connection to somebody else, TCP or unix.
#pragma once

#include "core/address.hpp"
#include "core/descriptor.hpp"
#include "core/loop.hpp"
#include "core/stream.hpp"
#include "core/task.hpp"

#include <memory>
#include <string>

namespace rooster::net {

/// No delay for small writes; and a peer that has vanished is noticed: after 60 s of silence four
/// probes, 15 s apart. On a listening socket its connections inherit it. Errors are ignored: a unix
/// socket knows none of it.
void tune_connection(int fd);

/// For a connection whose two ends are on this host: Reno instead of the system's congestion
/// control. There is no congestion to control, and a model of the path (BBR, with its pacing) costs
/// its arithmetic at every segment.
void tune_loopback(int fd);

/// Begins a non-blocking connect; make a Stream of the descriptor with `ready` 0 and await
/// connected(). Errors: UpstreamRefused, DescriptorsExhausted; Reached::No.
Result<Descriptor> start_connect(const Endpoint& to);
/// The same with a socket made elsewhere: of IPv6, IPv4 goes mapped.
Result<> start_connect(int socket, const Endpoint& to);

/// Waits until `stream` is connected. Errors, with Reached::No: UpstreamRefused,
/// UpstreamConnectTimeout at the deadline, the interruption's fault.
Task<> connected(Stream& stream, Waiter& waiter, TimePoint deadline);

/// Both at once. The stream belongs to the waiter's loop.
Task<std::unique_ptr<Stream>> dial(Endpoint to, Waiter& waiter, TimePoint deadline);
/// The same to a unix socket; while its backlog is full it is tried again until the deadline.
Task<std::unique_ptr<Stream>> dial_unix(std::string path, Waiter& waiter, TimePoint deadline);

}  // namespace rooster::net
