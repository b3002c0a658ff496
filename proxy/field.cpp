#include "proxy/field.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace rooster::proxy {
namespace {

template <class Word>
Word load(const char* at) {
  Word word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

// Compares a token with a literal of the same length. Setting bit 5 lowers letters and maps no
// other token byte onto a letter, digit or dash; the literal's side is folded at compile time.
template <std::size_t N>
inline bool is(const char* name, const char (&literal)[N]) {
  constexpr std::size_t kLength = N - 1;
  std::size_t at = 0;
  for (; at + 8 <= kLength; at += 8) {
    if ((load<std::uint64_t>(name + at) | 0x2020202020202020U) != load<std::uint64_t>(literal + at))
      return false;
  }
  for (; at < kLength; ++at) {
    if ((name[at] | 0x20) != literal[at]) return false;
  }
  return true;
}

template <std::size_t N>
inline bool begins(std::string_view name, const char (&literal)[N]) {
  return name.size() > N - 1 && is(name.data(), literal);
}

FieldKind classify_family(std::string_view name) {
  switch (name.front() | 0x20) {
    case 'f':
      return begins(name, "fly-") ? FieldKind::FlyOther : FieldKind::Other;
    case 'p':
      return begins(name, "proxy-") ? FieldKind::ProxyOther : FieldKind::Other;
    case 'r':
      return begins(name, "rooster-") ? FieldKind::RoosterOther : FieldKind::Other;
    case 'x':
      return begins(name, "x-forwarded-") ? FieldKind::XForwardedOther : FieldKind::Other;
    default:
      return FieldKind::Other;
  }
}

}  // namespace

FieldKind classify(std::string_view name) {
  using enum FieldKind;
  const char* n = name.data();
  switch (name.size()) {
    case 0:
      return Other;
    case 2:
      if (is(n, "te")) return Te;
      break;
    case 3:
      if (is(n, "via")) return Via;
      break;
    case 4:
      if (is(n, "host")) return Host;
      if (is(n, "date")) return Date;
      break;
    case 5:
      if (is(n, "proxy")) return ProxyOther;  // read as HTTP_PROXY by CGI-like apps
      break;
    case 6:
      if (is(n, "accept")) return Accept;
      if (is(n, "cookie")) return Cookie;
      if (is(n, "origin")) return Origin;
      if (is(n, "server")) return Server;
      if (is(n, "expect")) return Expect;
      break;
    case 7:
      if (is(n, "referer")) return Referer;
      if (is(n, "upgrade")) return Upgrade;
      if (is(n, "trailer")) return Trailer;
      break;
    case 8:
      if (is(n, "location")) return Location;
      break;
    case 9:
      if (is(n, "forwarded")) return Forwarded;
      if (is(n, "x-real-ip")) return XRealIp;
      break;
    case 10:
      if (is(n, "connection")) return Connection;
      if (is(n, "user-agent")) return UserAgent;
      if (is(n, "set-cookie")) return SetCookie;
      if (is(n, "keep-alive")) return KeepAlive;
      if (is(n, "fly-replay")) return FlyReplay;
      break;
    case 12:
      if (is(n, "content-type")) return ContentType;
      break;
    case 13:
      if (is(n, "cache-control")) return CacheControl;
      if (is(n, "authorization")) return Authorization;
      if (is(n, "server-timing")) return ServerTiming;
      break;
    case 14:
      if (is(n, "content-length")) return ContentLength;
      if (is(n, "http2-settings")) return Http2Settings;
      if (is(n, "fly-request-id")) return FlyRequestId;
      break;
    case 15:
      if (is(n, "accept-encoding")) return AcceptEncoding;
      if (is(n, "x-forwarded-for")) return XForwardedFor;
      if (is(n, "x-forwarded-ssl")) return XForwardedSsl;
      break;
    case 16:
      if (is(n, "content-encoding")) return ContentEncoding;
      if (is(n, "proxy-connection")) return ProxyConnection;
      if (is(n, "x-forwarded-port")) return XForwardedPort;
      if (is(n, "fly-force-region")) return FlyForceRegion;
      break;
    case 17:
      if (is(n, "transfer-encoding")) return TransferEncoding;
      if (is(n, "x-forwarded-proto")) return XForwardedProto;
      if (is(n, "fly-prefer-region")) return FlyPreferRegion;
      if (is(n, "sec-websocket-key")) return SecWebSocketKey;
      break;
    case 21:
      if (is(n, "sec-websocket-version")) return SecWebSocketVersion;
      if (is(n, "fly-force-instance-id")) return FlyForceInstanceId;
      break;
    case 22:
      if (is(n, "fly-prefer-instance-id")) return FlyPreferInstanceId;
      break;
    case 24:
      if (is(n, "fly-replay-cache-control")) return FlyReplayCacheControl;
      break;
    default:
      break;
  }
  return classify_family(name);
}

FieldKind classify_underscored(std::string_view name) {
  // No name that we treat specially is longer; the families are known by their beginning.
  std::array<char, 32> dashed;
  const std::size_t length = std::min(name.size(), dashed.size());
  std::transform(name.begin(), name.begin() + static_cast<std::ptrdiff_t>(length), dashed.begin(),
                 [](char c) { return c == '_' ? '-' : c; });
  const FieldKind kind = classify({dashed.data(), length});
  return kind == FieldKind::Other || kind >= FieldKind::Accept ? FieldKind::Other
                                                               : FieldKind::Spoof;
}

bool is_hop_by_hop(FieldKind kind) {
  return kind >= FieldKind::Connection && kind <= FieldKind::Http2Settings;
}

bool may_be_nominated(FieldKind kind) {
  return kind == FieldKind::Other;
}

bool may_be_trailer(const Field& field) {
  // Conditions, ranges, authentication and caching act on the whole message: too late, or unseen,
  // in a trailer.
  static constexpr auto kNever = std::to_array<std::string_view>(
      {"age", "content-range", "expires", "max-forwards", "pragma", "range", "retry-after", "vary",
       "warning", "www-authenticate"});
  if (field.kind != FieldKind::Other && field.kind != FieldKind::ServerTiming) return false;
  if (field.name.size() > 3 && equals_lower(field.name.substr(0, 3), "if-")) return false;
  return std::ranges::none_of(
      kNever, [&](std::string_view name) { return equals_lower(field.name, name); });
}

bool equals_lower(std::string_view text, std::string_view lower) {
  return std::ranges::equal(text, lower, [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? static_cast<char>(a | 0x20) : a) == b;
  });
}

}  // namespace rooster::proxy
