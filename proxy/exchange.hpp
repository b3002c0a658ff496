// One exchange: a request, and how it gets its response. The file to read first.
#pragma once

#include "core/loop.hpp"
#include "proxy/sides.hpp"

namespace rooster::proxy {

struct WorkerContext;

/// How an exchange ended, for the session.
struct ExchangeEnd {
  bool keep_alive = false;    ///< the response is complete and allows another request
  bool request_read = false;  ///< the request's body was read to its end
  bool tunnelled = false;     ///< the connection was a tunnel and is over
  bool must_cut = false;  ///< the response is incomplete: end the connection without saying goodbye
};

/// Serves the request whose head `client` has just read. Never fails: every error is answered,
/// logged and counted.
Task<ExchangeEnd> run_exchange(WorkerContext& context, ClientSide& client, Waiter& waiter,
                               const RequestHead& head);

}  // namespace rooster::proxy
