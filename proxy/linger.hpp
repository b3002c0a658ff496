// linger(): what was said to a client that is refused must arrive; bytes of its own that are still
// unread would turn our end into a reset.
#pragma once

#include "core/loop.hpp"
#include "core/stream.hpp"
#include "core/task.hpp"

namespace rooster::proxy {

struct WorkerContext;

/// Reads and drops what comes, for limits::kLingerTime and kDiscardBytes at most, until the client
/// ends. Call it after shutdown_write().
Task<> linger(WorkerContext& context, Stream& stream, Waiter& waiter);

}  // namespace rooster::proxy
