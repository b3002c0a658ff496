// One connection to the private API: the call of `rooster proxy` (net/connect_call.hpp) is served
// here, everything else is handed over.
#pragma once

#include "core/descriptor.hpp"
#include "core/loop.hpp"
#include "core/stream.hpp"
#include "core/task.hpp"
#include "proxy/private_table.hpp"

#include <functional>
#include <string>

namespace rooster::proxy {

struct WorkerContext;

/// Takes a request to the API that is no CONNECT: `input` has been read of it.
using HandOver = std::function<void(Descriptor, std::string input, PrivateSource)>;

/// Serves it to its end; `input` has been read already. Machines may not call. What is not handed
/// over is answered, logged and counted as a TcpSession.
Task<> run_private_call(WorkerContext& context, Stream& stream, Waiter& waiter,
                        const PrivateSource& source, const PrivateTable& table, std::string input,
                        const HandOver& hand_over);

}  // namespace rooster::proxy
