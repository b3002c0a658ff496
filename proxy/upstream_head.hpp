// The head that goes to the app (step 9): hop-by-hop fields out, ours in, framing made anew, in one
// contiguous piece.
#pragma once

#include "proxy/request_head.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace rooster::proxy {

/// What the app is told about the request's way. All views are ours, or vetted: no CR, LF or NUL.
struct Forwarding {
  std::string_view peer_address = {};  ///< the other end of the connection, as text
  std::string_view client_address =
      {};                ///< the peer, or what a trusted peer's X-Forwarded-For says
  bool trusted = false;  ///< the peer is in trusted_proxies: its X-Forwarded-* count
  bool tls = false;
  std::uint16_t port = 0;        ///< the external port the client came to
  std::string_view region = {};  ///< of this node
  /// place_fields() of port and region, made beforehand; "": they are made here.
  std::string_view place = {};
  std::string_view request_id = {};
  std::string_view default_host = {};           ///< for HTTP/1.0 without Host
  std::string_view preferred_unavailable = {};  ///< machine of Fly-Prefer-Instance-Id that could
                                                ///< not be taken; "": none
  std::string_view via = "1.1 rooster";         ///< "2 rooster" for an HTTP/2 client
  bool close = false;  ///< ask the app to close: this machine's connections aren't pooled
  bool expect = true;  ///< false: the app is known to speak 1.0, it gets no Expect
};

/// Did the client come by https, as far as we know or believe a trusted peer's X-Forwarded-Proto?
bool is_https(const RequestHead& head, const Forwarding& forwarding);

/// What every request by this port has in common: X-Forwarded-Port, Fly-Forwarded-Port, Fly-Region.
std::string place_fields(std::uint16_t port, std::string_view region);

/// Room that always suffices for any head.
inline constexpr std::size_t kMaxUpstreamHeadBytes = limits::kMaxHeadBytes + 8 * 1024;

/// Writes the head for the app; returns its length, 0 if it does not fit into `capacity`.
/// The framing is exactly one of nothing, Content-Length, `Transfer-Encoding: chunked`, by
/// head.body.
std::size_t to_upstream_head(const RequestHead& head, const Forwarding& forwarding, char* out,
                             std::size_t capacity);

}  // namespace rooster::proxy
