// The app's response head: as strict as the request's, for an app is not trusted with our framing
// either.
#pragma once

#include "proxy/field.hpp"
#include "proxy/request_head.hpp"

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace rooster::proxy {

/// What of the request decides how its response is read (RFC 9112 §6.3).
struct Asked {
  Method method = Method::Get;
  Upgrade upgrade = Upgrade::None;  ///< what was sent to the app, not what the client asked for
};

/// What a response head says, but for its fields.
struct ResponseFacts {
  std::uint16_t status = 0;
  std::uint8_t http_minor = 1;
  bool reusable = false;    ///< the connection may be pooled once the body is over
  bool nominates = false;   ///< Connection names fields of its own
  bool has_length = false;  ///< a Content-Length, maybe of a body that isn't sent (HEAD, 304)
  std::uint64_t content_length = 0;
  std::string_view reason;
  std::string_view upgrade_protocol;  ///< of a 101
  Framing body;
  std::uint32_t head_bytes = 0;
  std::uint16_t field_count = 0;

  /// 1xx other than 101: another head follows.
  bool is_interim() const { return status < 200 && status != 101; }
  bool is_upgrade() const { return status == 101; }

  /// Where parse_response_head goes on, and what it has met: nobody else's business.
  struct Progress {
    const char* base = nullptr;
    std::size_t line_start = 0;
    std::size_t scanned = 0;
    std::uint8_t connection_tokens = 0;
    bool in_fields = false;
    bool encoding_seen = false;
    bool wants_close = false;
    bool wants_upgrade = false;
  } progress;
};

struct ResponseHead : ResponseFacts {
  std::array<Field, limits::kMaxFields> field_storage;

  std::span<const Field> fields() const { return {field_storage.data(), field_count}; }
  const Field* find(FieldKind kind) const;
  const Field* find(std::string_view lower_name) const;
  void reset() { static_cast<ResponseFacts&>(*this) = ResponseFacts{}; }
};

/// Like parse_request_head, for what the app sends. Invalid is always UpstreamBadResponse: TE with
/// CL, differing CLs, an unknown TE, folds, bad bytes, a 101 nobody asked for, more than
/// kMaxHeadBytes.
Parsed parse_response_head(std::string_view bytes, Asked asked, ResponseHead& head);

}  // namespace rooster::proxy
