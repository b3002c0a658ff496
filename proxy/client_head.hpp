// The head that goes to the client: the app's, with hop-by-hop fields out, the app's own rules
// applied, framing made anew for the client's version.
#pragma once

#include "config/app_config.hpp"
#include "proxy/response_head.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace rooster::proxy {

/// How a response is dressed for the client. All views are ours: no CR, LF or NUL.
struct ResponseRules {
  std::uint8_t client_minor = 1;  ///< the client's HTTP/1.x
  bool keep_alive = true;         ///< we mean to keep the client's connection
  Method method = Method::Get;
  bool pristine =
      false;  ///< http_options.response.pristine: Server, Via, Fly-Request-Id left as they are
  std::span<const config::HeaderRule> headers = {};
  std::string_view request_id = {};
  std::string_view date = {};           ///< IMF-fixdate of now, used if the app sent none
  std::string_view server_timing = {};  ///< a wake's timeline, e.g. `wake;dur=812`; "": none
};

struct ClientHead {
  std::size_t bytes = 0;    ///< 0: did not fit
  Framing body;             ///< how to frame the body towards the client
  bool keep_alive = false;  ///< false: `Connection: close` was said, or the framing needs it
};

inline constexpr std::size_t kMaxClientHeadBytes = limits::kMaxHeadBytes + 16 * 1024;

/// Writes the head for the client. Interim heads (1xx) get no framing and nothing of ours; a 1.0
/// client must not be sent any (RFC 9110 §15.2).
ClientHead to_client_head(const ResponseHead& head, const ResponseRules& rules, char* out,
                          std::size_t capacity);

}  // namespace rooster::proxy
