// The vocabulary of HTTP/1 heads: one field, its kind, and how a body is framed. Shared by requests
// and responses.
#pragma once

#include "core/fault.hpp"
#include "core/limits.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace rooster::proxy {

/// The fields that the proxy treats specially; everything else is Other and passes as it came.
enum class FieldKind : std::uint8_t {
  Other,
  // framing and routing
  Host,
  ContentLength,
  TransferEncoding,
  Expect,
  // hop by hop (RFC 9110 §7.6.1)
  Connection,
  KeepAlive,
  ProxyConnection,
  ProxyOther,  ///< any other Proxy-*, and Proxy itself
  Te,
  Trailer,
  Upgrade,
  Http2Settings,
  // who asks and by which way
  Via,
  Forwarded,
  XForwardedFor,
  XForwardedProto,
  XForwardedSsl,
  XForwardedPort,
  XForwardedOther,  ///< any other X-Forwarded-*
  XRealIp,
  FlyPreferRegion,
  FlyForceRegion,
  FlyPreferInstanceId,
  FlyForceInstanceId,
  FlyReplayCacheControl,
  FlyRequestId,
  FlyReplay,
  FlyOther,      ///< any other Fly-*
  RoosterOther,  ///< any Rooster-*
  // read by us, passed as they are
  Accept,
  AcceptEncoding,
  Authorization,
  CacheControl,
  ContentEncoding,
  ContentType,
  Cookie,
  Date,
  Location,
  Origin,
  Referer,
  SecWebSocketKey,
  SecWebSocketVersion,
  Server,
  ServerTiming,
  SetCookie,
  UserAgent,
  /// A name that many apps read as one of the above because they turn `_` into `-`: never
  /// forwarded.
  Spoof,
};

struct Field {
  std::string_view name;   ///< as sent
  std::string_view value;  ///< without surrounding white space; no CR, LF or NUL
  FieldKind kind = FieldKind::Other;
};

/// The kind of a field name, by its length first; case-insensitive. `name` must be a token.
FieldKind classify(std::string_view name);

/// The kind of a name with an underscore in it: Other, or Spoof if with dashes it would be one that
/// we set or vet.
FieldKind classify_underscored(std::string_view name);

/// Hop-by-hop whatever Connection says: never forwarded as it came.
bool is_hop_by_hop(FieldKind kind);

/// May `Connection: <this field>` remove it? Never what framing, routing, trust or authentication
/// stand on.
bool may_be_nominated(FieldKind kind);

/// May stand in a trailer section (RFC 9110 §6.5.1)? Not framing, routing, trust, authentication or
/// conditions.
bool may_be_trailer(const Field& field);

enum class BodyKind : std::uint8_t { None, Length, Chunked, UntilClose };

/// How a body's end is known. `length` counts only for Length.
struct Framing {
  BodyKind kind = BodyKind::None;
  std::uint64_t length = 0;
  /// Will a byte of body, or at least its end, follow the head?
  bool has_body() const { return kind == BodyKind::Length ? length > 0 : kind != BodyKind::None; }
  friend bool operator==(const Framing&, const Framing&) = default;
};

enum class ParseStatus : std::uint8_t { NeedMore, Complete, Invalid };

struct Parsed {
  ParseStatus status = ParseStatus::NeedMore;
  Fault fault = Fault::None;  ///< set when Invalid
};

/// Case-insensitive equality with a lower-case literal.
bool equals_lower(std::string_view text, std::string_view lower);

}  // namespace rooster::proxy
