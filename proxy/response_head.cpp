#include "proxy/response_head.hpp"

#include "proxy/head_line.hpp"

namespace rooster::proxy {
namespace {

constexpr Parsed kBad{ParseStatus::Invalid, Fault::UpstreamBadResponse};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// "HTTP/1.1 200 OK"; the reason may be empty, and its blank may be missing (RFC 9112 §4).
bool take_status_line(std::string_view line, ResponseHead& head) {
  if (line.size() < 12 || !line.starts_with("HTTP/1.") || (line[7] != '0' && line[7] != '1'))
    return false;
  if (line[8] != ' ' || !is_digit(line[9]) || !is_digit(line[10]) || !is_digit(line[11]))
    return false;
  if (line.size() > 12 && line[12] != ' ') return false;
  head.http_minor = line[7] == '1' ? 1 : 0;
  head.status =
      static_cast<std::uint16_t>((line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0'));
  head.reason = line.size() > 13 ? line.substr(13) : std::string_view{};
  return head.status >= 100 && head.status <= 599;
}

bool take_connection(std::string_view value, ResponseHead& head) {
  auto& at = head.progress;
  TokenList options(value);
  for (auto option = options.next(); !option.empty(); option = options.next()) {
    if (!is_token(option) || ++at.connection_tokens > kMaxConnectionOptions) return false;
    if (equals_lower(option, "close")) {
      at.wants_close = true;
    } else if (equals_lower(option, "upgrade")) {
      at.wants_upgrade = true;
    } else if (!equals_lower(option, "keep-alive")) {
      head.nominates = true;
    }
  }
  return true;
}

bool take_length(std::string_view value, ResponseHead& head) {
  std::uint64_t length = 0;
  if (!read_length(value, length)) return false;
  // The same length said twice is one length (RFC 9110 §8.6); different ones are an attack.
  if (head.has_length && head.content_length != length) return false;
  head.has_length = true;
  head.content_length = length;
  return true;
}

bool take_field(std::string_view line, ResponseHead& head) {
  if (line.size() > limits::kMaxFieldBytes || head.field_count == head.field_storage.size())
    return false;
  Field& field = head.field_storage[head.field_count];
  if (!split_field(line, field)) return false;
  ++head.field_count;
  switch (field.kind) {
    case FieldKind::Connection:
      return take_connection(field.value, head);
    case FieldKind::ContentLength:
      return take_length(field.value, head);
    case FieldKind::TransferEncoding:
      if (head.progress.encoding_seen || !equals_lower(field.value, "chunked")) return false;
      head.progress.encoding_seen = true;
      return true;
    case FieldKind::Upgrade:
      head.upgrade_protocol = field.value;
      return true;
    default:
      return true;
  }
}

// RFC 9112 §6.3 in its order. A length or coding announced where no body can be leaves doubt about
// the next bytes: the response passes, the connection is not used again.
Parsed finish(ResponseHead& head, Asked asked) {
  const auto& at = head.progress;
  if (at.encoding_seen && (head.has_length || head.http_minor == 0)) return kBad;
  if (head.status == 101) {
    const bool asked_for_it = asked.upgrade != Upgrade::None && at.wants_upgrade &&
                              !head.upgrade_protocol.empty() && head.http_minor == 1 &&
                              !at.encoding_seen && (!head.has_length || head.content_length == 0);
    if (!asked_for_it) return kBad;
  }
  const bool never_has_body = head.status < 200 || head.status == 204;
  const bool doubtful = never_has_body && (at.encoding_seen || head.content_length > 0);
  if (head.status < 200 && doubtful) return kBad;
  if (never_has_body || head.status == 304 || asked.method == Method::Head) {
    head.body = {};
  } else if (at.encoding_seen) {
    head.body = {BodyKind::Chunked, 0};
  } else if (head.has_length) {
    head.body = {BodyKind::Length, head.content_length};
  } else {
    head.body = {BodyKind::UntilClose, 0};
  }
  head.reusable = head.http_minor == 1 && !at.wants_close && !doubtful && head.status != 101 &&
                  head.body.kind != BodyKind::UntilClose;
  head.head_bytes = static_cast<std::uint32_t>(at.line_start);
  return {ParseStatus::Complete, Fault::None};
}

}  // namespace

const Field* ResponseHead::find(FieldKind kind) const {
  for (const Field& field : fields()) {
    if (field.kind == kind) return &field;
  }
  return nullptr;
}

const Field* ResponseHead::find(std::string_view lower_name) const {
  for (const Field& field : fields()) {
    if (equals_lower(field.name, lower_name)) return &field;
  }
  return nullptr;
}

Parsed parse_response_head(std::string_view bytes, Asked asked, ResponseHead& head) {
  if (head.progress.base != bytes.data()) {  // new, or moved: the views would dangle
    head.reset();
    head.progress.base = bytes.data();
  }
  auto& at = head.progress;
  for (;;) {
    const HeadLine line = next_line(bytes, at.line_start, at.scanned);
    if (line.status == ParseStatus::Invalid) return kBad;
    if (line.status == ParseStatus::NeedMore)
      return bytes.size() >= limits::kMaxHeadBytes ? kBad : Parsed{};
    if (at.line_start > limits::kMaxHeadBytes) return kBad;
    if (!at.in_fields) {
      if (!take_status_line(line.text, head)) return kBad;
      at.in_fields = true;
    } else if (line.text.empty()) {
      return finish(head, asked);
    } else if (!take_field(line.text, head)) {
      return kBad;
    }
  }
}

}  // namespace rooster::proxy
