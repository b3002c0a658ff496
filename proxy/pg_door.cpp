#include "proxy/pg_door.hpp"

#include "proxy/peek.hpp"
#include "proxy/pg_start.hpp"
#include "proxy/worker_context.hpp"

#include <string_view>

namespace rooster::proxy {

namespace {

constexpr char kTlsHandshake = 22;  // RFC 8446 §5.1
constexpr int kMostRequests = 3;  // GSSENCRequest, refused; SSLRequest; and one to be patient with

}  // namespace

// Never more than the request is taken: bytes sent behind it in the clear, where the client should
// have waited, end up in the handshake and break it (CVE-2021-23222).
Task<> enter_pg_door(WorkerContext& context, Stream& stream, Waiter& waiter, TimePoint deadline) {
  bool asked_for_tls = false;
  for (int requests = 0; requests < kMostRequests;) {
    const std::string_view bytes = peek(stream, context.scratch.in_span().first(kPgRequestBytes));
    if (!bytes.empty() && bytes[0] == kTlsHandshake) co_return {};
    const PgRequest request = peek_pg_request(bytes);
    if (request == PgRequest::NeedMore) {
      auto more = co_await wait_for_more(stream, waiter, deadline);
      if (!more) co_return more.error();
      continue;
    }
    ++requests;
    if (request == PgRequest::Plain && !asked_for_tls) co_return Error(Fault::TlsRequired);
    const bool is_tls = request == PgRequest::Tls;
    if (asked_for_tls || (!is_tls && request != PgRequest::Gss)) co_return Error(Fault::BadRequest);
    asked_for_tls = is_tls;
    if (!skip(stream, context.scratch.in_span(), kPgRequestBytes)) {
      co_return Error(Fault::ClientLeft);
    }
    if (!stream.write(is_tls ? "S" : "N")) co_return Error(Fault::ClientLeft);
  }
  co_return Error(Fault::BadRequest);
}

}  // namespace rooster::proxy
