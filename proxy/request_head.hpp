// The request head (step 4 of a request's way): strict, resumable, without allocation; views into
// the read buffer.
#pragma once

#include "proxy/field.hpp"
#include "proxy/host_name.hpp"

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace rooster::proxy {

enum class Method : std::uint8_t {
  Get,
  Head,
  Post,
  Put,
  Delete,
  Options,
  Patch,
  Connect,
  Trace,
  Other
};

/// RFC 9110 §9.2.2, as far as decided for retries: GET, HEAD, OPTIONS, PUT, DELETE.
bool is_idempotent(Method method);

/// What the client asks to switch to. h2c is never offered to an app.
enum class Upgrade : std::uint8_t {
  None,
  WebSocket,  ///< a whole RFC 6455 version 13 handshake: its frames may be counted
  Other,      ///< opaque after the 101
};

/// What a request head says, but for its fields.
struct RequestFacts {
  Method method = Method::Get;
  Upgrade upgrade = Upgrade::None;
  std::uint8_t http_minor = 1;
  bool keep_alive = true;        ///< the client wants the connection to go on
  bool expect_continue = false;  ///< 1.1, with a body
  bool te_trailers = false;      ///< the client takes trailers
  bool asterisk = false;         ///< `OPTIONS *`: answered by the proxy
  bool absolute_form = false;    ///< `host` is the target's authority, Host is ignored
  bool has_host = false;         ///< false only on HTTP/1.0
  bool nominates = false;        ///< Connection names fields beyond close, keep-alive, upgrade, te

  std::string_view method_text;
  std::string_view target;      ///< as sent
  std::string_view path;        ///< "/..." or "*"; "/" if the absolute form has none
  std::string_view query;       ///< without '?'
  bool has_query = false;       ///< an empty query is not the same as none
  std::string_view host;        ///< as sent, to be forwarded; syntax already vetted
  std::string_view host_name;   ///< without port and trailing dot; case as sent; brackets kept
  std::uint16_t host_port = 0;  ///< 0: none given
  std::string_view upgrade_protocol;

  Framing body;
  std::uint32_t head_bytes = 0;  ///< from the first byte given, leading empty lines included
  std::uint16_t field_count = 0;

  /// Where parse_request_head goes on, and what it has met: nobody else's business.
  struct Progress {
    const char* base = nullptr;
    std::size_t line_start = 0;
    std::size_t scanned = 0;
    std::uint64_t length = 0;
    std::uint8_t empty_lines = 0;
    std::uint8_t connection_tokens = 0;
    std::uint8_t hosts = 0;
    bool in_fields = false;
    bool length_seen = false;
    bool encoding_seen = false;
    bool expect_seen = false;
    bool upgrade_seen = false;
    bool upgrade_ambiguous = false;
    bool websocket_key = false;
    bool websocket_13 = false;
    bool wants_close = false;
    bool wants_keep_alive = false;
    bool wants_upgrade = false;
  } progress;
};

/// One request head. Reused for the next request after reset(). About 4 KiB: lend it while a
/// request is in hand.
struct RequestHead : RequestFacts {
  std::array<Field, limits::kMaxFields> field_storage;

  std::span<const Field> fields() const { return {field_storage.data(), field_count}; }
  /// The first field of a kind; nullptr: none.
  const Field* find(FieldKind kind) const;
  /// The first field with this (lower-case) name; for the rare ones that have no kind.
  const Field* find(std::string_view lower_name) const;
  /// Ready for the next head. The fields' storage is left as it is.
  void reset() { static_cast<RequestFacts&>(*this) = RequestFacts{}; }
};

/// Parses a head from the start of `bytes`. NeedMore: call again with the same bytes and more
/// behind them; the work done is kept (or done again, if the bytes have moved). Complete: the views
/// point into `bytes`, the body begins at head_bytes. Invalid: answer with the fault and close,
/// nothing after it can be trusted. RFC 9112 §2 to §6; bounds from core/limits.hpp.
Parsed parse_request_head(std::string_view bytes, RequestHead& head);

}  // namespace rooster::proxy
