// How a PostgreSQL connection begins (PostgreSQL's documentation, "Message Formats"): the requests
// before the startup message, and the one error a proxy can say. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace rooster::proxy {

inline constexpr std::size_t kPgRequestBytes = 8;  // SSLRequest and GSSENCRequest

enum class PgRequest : std::uint8_t {
  NeedMore,
  Tls,      ///< SSLRequest: 'S' or 'N' is awaited
  Gss,      ///< GSSENCRequest: 'N' says no
  Plain,    ///< a startup message without encryption
  Cancel,   ///< a cancel request without encryption: nothing is awaited
  Foreign,  ///< not PostgreSQL
};

/// `bytes`: what has come so far of a request.
PgRequest peek_pg_request(std::string_view bytes);

inline constexpr std::string_view kPgCannotConnectNow = "57P03";
inline constexpr std::string_view kPgNotAuthorized = "28000";

/// A FATAL ErrorResponse. `code`: an SQLSTATE.
std::string make_pg_error(std::string_view code, std::string_view message, std::string_view hint);

}  // namespace rooster::proxy
