// fetch: one HTTP/1.1 request and its response on a Stream, without blocking: service checks,
// drivers.
#pragma once

#include "core/stream.hpp"
#include "core/task.hpp"
#include "net/http_message.hpp"

#include <cstddef>
#include <string>

namespace rooster::net {

/// Sends `request` on a connected stream and reads the whole response; the caller closes the
/// stream. Errors: UpstreamTimeout at the deadline, UpstreamReset, UpstreamTruncated,
/// UpstreamBadResponse (also for a body of more than `max_body` bytes), the interruption's fault.
Task<HttpResponse> fetch(Stream& stream, HttpRequest request, std::string host, Waiter& waiter,
                         TimePoint deadline, std::size_t max_body = 1024 * 1024);

}  // namespace rooster::net
