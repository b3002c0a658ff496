// accept_tls: the server's side of a TLS handshake on an accepted connection.
#pragma once

#include "core/loop.hpp"
#include "core/stream.hpp"
#include "core/task.hpp"
#include "tls/server_context.hpp"

#include <memory>

namespace rooster::tls {

/// Makes `stream` a TLS stream and shakes hands. Errors: TlsHandshake, its detail beginning with
/// Fly's code; an alert has been sent where there is one, and the caller closes. `context` must
/// outlive the handshake. `profile`: a port's own, whatever name is asked for; null: the context's.
Task<Handshake> accept_tls(Stream& stream, const ServerContext& context, Waiter& waiter,
                           TimePoint deadline, std::shared_ptr<const TlsProfile> profile = {});

}  // namespace rooster::tls
