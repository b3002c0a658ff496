// The door of a pg_tls port: PostgreSQL's clients ask for TLS in their own words first.
#pragma once

#include "core/loop.hpp"
#include "core/stream.hpp"
#include "core/task.hpp"

namespace rooster::proxy {

struct WorkerContext;

/// Answers what a client may say before TLS, until its ClientHello is next; one that begins with
/// TLS at once is fine too. Errors: TlsRequired: it begins without, and should be told so;
/// BadRequest: it doesn't speak PostgreSQL; ClientLeft, HeadTimeout, the interruption's.
Task<> enter_pg_door(WorkerContext& context, Stream& stream, Waiter& waiter, TimePoint deadline);

}  // namespace rooster::proxy
