// The one exit of every error: a Fault as a complete response. Pure: what goes in is vetted here
// again, and nothing of the client's request is shown but its own request id.
#pragma once

#include "core/fault.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rooster::proxy {

/// What a refusal says.
struct Refusal {
  Fault fault = Fault::Internal;
  std::string_view accept = {};  ///< the Accept field's value; HTML only where it names text/html
  std::string_view request_id = {};
  std::string_view app = {};                             ///< the routed app's name; "" if none
  std::optional<std::chrono::seconds> retry_after = {};  ///< sent only if true; at least 1
  bool close = false;                                    ///< add Connection: close
  bool head_only = false;                                ///< the request was HEAD: fields, no body
  std::string_view grpc_type = {};  ///< a gRPC request's content type: it gets a status of gRPC
  bool grpc_too_late = false;       ///< the call's own deadline has passed
};

/// A refusal without its framing: what HTTP/1.1 and HTTP/2 have in common.
struct ErrorPage {
  std::uint16_t status = 0;  ///< 0: this fault has no response, close the connection
  std::string_view content_type;
  std::string body;
};

ErrorPage make_error_page(const Refusal& refusal);

/// The complete HTTP/1.1 response; to gRPC a 200 of fields only, with grpc-status. Empty where the
/// fault has none (Fault::ClientLeft, Fault::TlsHandshake, ...).
std::string write_refusal(const Refusal& refusal);

/// 301 to https with the same host, path and query. `host` is without a port, `target` in origin
/// form; both vetted, and whatever could end a field is percent-encoded all the same. Port 443 is
/// left out.
std::string write_https_redirect(std::string_view host, std::string_view target,
                                 std::uint16_t https_port, std::string_view request_id, bool close);

/// The answer to `OPTIONS *`: 200, empty.
std::string write_options_response(std::string_view request_id, bool close);

/// The reason phrase, "Unknown" where there is none.
std::string_view reason_phrase(std::uint16_t status);

}  // namespace rooster::proxy
