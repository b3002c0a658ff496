// How a head is read:
//   1. at most two empty lines      2. the request line: method, target, version
//   3. field after field: classified, and what frames or routes is taken down
//   4. at the empty line: host, framing, connection, expectation and upgrade are judged together
#include "proxy/request_head.hpp"

#include "proxy/head_line.hpp"

namespace rooster::proxy {
namespace {

constexpr std::size_t kMaxMethod = 32;
constexpr std::size_t kVersion = 9;  // " HTTP/1.1"

constexpr std::array<bool, 256> kMethodBytes = [] {
  std::array<bool, 256> table{};
  for (unsigned char c = 'A'; c <= 'Z'; ++c) table[c] = true;
  table['-'] = true;  // M-SEARCH, VERSION-CONTROL
  return table;
}();

// 0: refused; 1: taken; 2: begins the query. Bytes that browsers send raw although RFC 3986 forbids
// them ("|^{}[]) pass verbatim; a fragment, controls, blanks and bytes above 0x7F are read
// differently by different servers.
constexpr std::array<std::uint8_t, 256> kTargetBytes = [] {
  std::array<std::uint8_t, 256> table{};
  for (unsigned char c = 0x21; c < 0x7F; ++c) table[c] = 1;
  table['#'] = 0;
  table['?'] = 2;
  return table;
}();

Method to_method(std::string_view text) {
  switch (text.size()) {
    case 3:
      if (text == "GET") return Method::Get;
      if (text == "PUT") return Method::Put;
      break;
    case 4:
      if (text == "POST") return Method::Post;
      if (text == "HEAD") return Method::Head;
      break;
    case 5:
      if (text == "PATCH") return Method::Patch;
      if (text == "TRACE") return Method::Trace;
      break;
    case 6:
      if (text == "DELETE") return Method::Delete;
      break;
    case 7:
      if (text == "OPTIONS") return Method::Options;
      if (text == "CONNECT") return Method::Connect;
      break;
    default:
      break;
  }
  return Method::Other;
}

Fault take_version(std::string_view text, RequestHead& head) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  if (!text.starts_with(" HTTP/") || !is_digit(text[6]) || text[7] != '.' || !is_digit(text[8]))
    return Fault::BadRequest;
  if (text[6] != '1' || text[8] > '1') return Fault::VersionNotSupported;
  head.http_minor = text[8] == '1' ? 1 : 0;
  return Fault::None;
}

Fault split_path(std::string_view rest, RequestHead& head) {
  const char* at = rest.data();
  const char* end = at + rest.size();
  for (; at != end; ++at) {
    const std::uint8_t byte = kTargetBytes[static_cast<unsigned char>(*at)];
    if (byte == 2) break;
    // Some servers take a backslash for a slash: the path would be another one than we routed by.
    if (byte == 0 || *at == '\\') return Fault::BadRequest;
  }
  head.path = rest.substr(0, static_cast<std::size_t>(at - rest.data()));
  if (at == end) return Fault::None;
  head.has_query = true;
  head.query = rest.substr(head.path.size() + 1);
  for (++at; at != end; ++at) {
    if (kTargetBytes[static_cast<unsigned char>(*at)] == 0) return Fault::BadRequest;
  }
  return Fault::None;
}

// "http://host:port/path?query" (RFC 9112 §3.2.2): its authority counts, Host does not.
Fault take_absolute(RequestHead& head) {
  std::string_view rest = head.target;
  if (rest.size() > 7 && equals_lower(rest.substr(0, 7), "http://")) {
    rest.remove_prefix(7);
  } else if (rest.size() > 8 && equals_lower(rest.substr(0, 8), "https://")) {
    rest.remove_prefix(8);
  } else {
    return Fault::BadRequest;
  }
  const std::size_t slash = rest.find_first_of("/?#");
  head.absolute_form = true;
  head.host = rest.substr(0, slash);
  rest = slash == std::string_view::npos ? std::string_view{} : rest.substr(slash);
  if (const Fault fault = split_path(rest, head); fault != Fault::None) return fault;
  if (head.path.empty()) {
    head.asterisk = head.method == Method::Options && !head.has_query;  // RFC 9112 §3.2.4
    head.path = head.asterisk ? "*" : "/";
  }
  return Fault::None;
}

Fault take_target(RequestHead& head) {
  if (head.target.empty()) return Fault::BadRequest;
  if (head.target.size() > limits::kMaxTargetBytes) return Fault::TargetTooLong;
  if (head.target.front() == '/') return split_path(head.target, head);
  if (head.target != "*") return take_absolute(head);
  if (head.method != Method::Options) return Fault::BadRequest;
  head.asterisk = true;
  head.path = head.target;
  return Fault::None;
}

Fault take_request_line(std::string_view line, RequestHead& head) {
  std::size_t at = 0;
  while (at < line.size() && kMethodBytes[static_cast<unsigned char>(line[at])]) ++at;
  if (at == 0 || at > kMaxMethod || line.size() < at + 1 + kVersion || line[at] != ' ')
    return Fault::BadRequest;
  head.method_text = line.substr(0, at);
  head.method = to_method(head.method_text);
  const std::size_t target_end = line.size() - kVersion;
  if (const Fault fault = take_version(line.substr(target_end), head); fault != Fault::None)
    return fault;
  if (head.method == Method::Connect || head.method == Method::Trace)
    return Fault::MethodNotAllowed;
  head.target = line.substr(at + 1, target_end - at - 1);
  return take_target(head);
}

Fault take_connection(std::string_view value, RequestHead& head) {
  auto& at = head.progress;
  TokenList options(value);
  for (auto option = options.next(); !option.empty(); option = options.next()) {
    if (!is_token(option) || ++at.connection_tokens > kMaxConnectionOptions)
      return Fault::BadRequest;
    if (equals_lower(option, "keep-alive")) {
      at.wants_keep_alive = true;
    } else if (equals_lower(option, "close")) {
      at.wants_close = true;
    } else if (equals_lower(option, "upgrade")) {
      at.wants_upgrade = true;
    } else if (!equals_lower(option, "te")) {
      head.nominates = true;
    }
  }
  return Fault::None;
}

void take_te(std::string_view value, RequestHead& head) {
  TokenList codings(value);
  for (auto coding = codings.next(); !coding.empty(); coding = codings.next()) {
    if (equals_lower(coding, "trailers")) head.te_trailers = true;
  }
}

Fault take_upgrade(std::string_view value, RequestHead& head) {
  // A list, or two fields, leaves the choice to the app: not offered at all.
  auto& at = head.progress;
  at.upgrade_ambiguous = at.upgrade_seen || value.find_first_of(", \t") != std::string_view::npos;
  at.upgrade_seen = true;
  head.upgrade_protocol = value;
  return Fault::None;
}

Fault take_known(const Field& field, RequestHead& head) {
  auto& at = head.progress;
  switch (field.kind) {
    case FieldKind::Host:
      if (at.hosts++ != 0) return Fault::BadHost;
      if (!head.absolute_form) head.host = field.value;
      head.has_host = true;
      if (head.absolute_form && !split_host(field.value)) return Fault::BadHost;
      return Fault::None;
    case FieldKind::ContentLength:
      if (at.length_seen || !read_length(field.value, at.length)) return Fault::BadFraming;
      at.length_seen = true;
      return Fault::None;
    case FieldKind::TransferEncoding:
      if (at.encoding_seen || !equals_lower(field.value, "chunked")) return Fault::BadFraming;
      at.encoding_seen = true;
      return Fault::None;
    case FieldKind::Expect:
      // Obfuscated expectations desynchronise servers: nothing but the one that RFC 9110 §10.1.1
      // defines.
      if (at.expect_seen || !equals_lower(field.value, "100-continue")) return Fault::BadRequest;
      at.expect_seen = true;
      return Fault::None;
    case FieldKind::Connection:
      return take_connection(field.value, head);
    case FieldKind::Te:
      take_te(field.value, head);
      return Fault::None;
    case FieldKind::Upgrade:
      return take_upgrade(field.value, head);
    case FieldKind::SecWebSocketKey:
      at.websocket_key = true;
      return Fault::None;
    case FieldKind::SecWebSocketVersion:
      at.websocket_13 = field.value == "13";
      return Fault::None;
    default:
      return Fault::None;
  }
}

Fault take_field(std::string_view line, RequestHead& head) {
  if (line.size() > limits::kMaxFieldBytes) return Fault::HeadTooLarge;
  if (head.field_count == head.field_storage.size()) return Fault::HeadTooLarge;
  Field& field = head.field_storage[head.field_count];
  if (!split_field(line, field)) return Fault::BadRequest;
  ++head.field_count;
  return field.kind == FieldKind::Other ? Fault::None : take_known(field, head);
}

Fault judge_host(RequestHead& head) {
  if (!head.has_host && head.http_minor == 1) return Fault::BadHost;
  if (!head.has_host && !head.absolute_form) return Fault::None;
  const auto host = split_host(head.host);
  if (!host) return Fault::BadHost;
  head.host_name = host->name;
  head.host_port = host->port;
  return Fault::None;
}

// RFC 9112 §6.3, without its leniencies.
Fault judge_framing(RequestHead& head) {
  const auto& at = head.progress;
  if (at.encoding_seen) {
    if (at.length_seen || head.http_minor == 0) return Fault::BadFraming;
    head.body = {BodyKind::Chunked, 0};
  } else if (at.length_seen) {
    head.body = {BodyKind::Length, at.length};
  }
  return Fault::None;
}

Upgrade judge_upgrade(const RequestHead& head) {
  const auto& at = head.progress;
  if (!at.wants_upgrade || !at.upgrade_seen || at.upgrade_ambiguous) return Upgrade::None;
  if (head.http_minor == 0 || head.body.has_body()) return Upgrade::None;
  const std::string_view protocol = head.upgrade_protocol;
  if (equals_lower(protocol, "websocket")) {
    const bool whole = at.websocket_key && at.websocket_13 && head.method == Method::Get;
    return whole ? Upgrade::WebSocket : Upgrade::Other;
  }
  // A tunnel of h2c would carry requests past every check of ours.
  const std::string_view start = protocol.substr(0, 2);
  const bool is_http = equals_lower(start, "h2") || equals_lower(protocol.substr(0, 4), "http");
  return is_http || !is_token(protocol.substr(0, protocol.find('/'))) ? Upgrade::None
                                                                      : Upgrade::Other;
}

Parsed finish(RequestHead& head) {
  Fault fault = judge_host(head);
  if (fault == Fault::None) fault = judge_framing(head);
  if (fault != Fault::None) return {ParseStatus::Invalid, fault};
  const auto& at = head.progress;
  head.keep_alive = !at.wants_close && (head.http_minor == 1 || at.wants_keep_alive);
  head.expect_continue = at.expect_seen && head.http_minor == 1 && head.body.has_body();
  head.upgrade = judge_upgrade(head);
  head.head_bytes = static_cast<std::uint32_t>(at.line_start);
  return {ParseStatus::Complete, Fault::None};
}

// An unfinished line that is too long already is refused now, not when it ends.
Parsed judge_unfinished(std::string_view bytes, const RequestHead& head) {
  const std::size_t line_bytes = bytes.size() - head.progress.line_start;
  if (!head.progress.in_fields && line_bytes > limits::kMaxTargetBytes + kMaxMethod + kVersion + 2)
    return {ParseStatus::Invalid, Fault::TargetTooLong};
  if (bytes.size() >= limits::kMaxHeadBytes || line_bytes > limits::kMaxFieldBytes + 1)
    return {ParseStatus::Invalid, Fault::HeadTooLarge};
  return {ParseStatus::NeedMore, Fault::None};
}

}  // namespace

bool is_idempotent(Method method) {
  return method == Method::Get || method == Method::Head || method == Method::Options ||
         method == Method::Put || method == Method::Delete;
}

const Field* RequestHead::find(FieldKind kind) const {
  for (const Field& field : fields()) {
    if (field.kind == kind) return &field;
  }
  return nullptr;
}

const Field* RequestHead::find(std::string_view lower_name) const {
  for (const Field& field : fields()) {
    if (equals_lower(field.name, lower_name)) return &field;
  }
  return nullptr;
}

Parsed parse_request_head(std::string_view bytes, RequestHead& head) {
  if (head.progress.base != bytes.data()) {  // new, or moved: the views would dangle
    head.reset();
    head.progress.base = bytes.data();
  }
  auto& at = head.progress;
  for (;;) {
    const HeadLine line = next_line(bytes, at.line_start, at.scanned);
    if (line.status == ParseStatus::NeedMore) return judge_unfinished(bytes, head);
    if (line.status == ParseStatus::Invalid) return {ParseStatus::Invalid, Fault::BadRequest};
    Fault fault = Fault::None;
    if (at.line_start > limits::kMaxHeadBytes) {
      fault = Fault::HeadTooLarge;
    } else if (at.in_fields) {
      if (line.text.empty()) return finish(head);
      fault = take_field(line.text, head);
    } else if (!line.text.empty()) {
      fault = take_request_line(line.text, head);
      at.in_fields = true;
    } else if (++at.empty_lines > limits::kMaxLeadingEmptyLines) {
      fault = Fault::BadRequest;
    }
    if (fault != Fault::None) return {ParseStatus::Invalid, fault};
  }
}

}  // namespace rooster::proxy
