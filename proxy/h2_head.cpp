#include "proxy/h2_head.hpp"

#include "core/base64.hpp"
#include "proxy/field.hpp"
#include "proxy/head_line.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace rooster::proxy {

namespace {

constexpr std::size_t kFieldOverhead = 32;  // RFC 9113 §6.5.2: what the announced limit counts
constexpr std::size_t kStatusAt = 9;        // "HTTP/1.1 200"

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

// What frames an HTTP/1.1 message or names its connection has no place in HTTP/2 (RFC 9113
// §8.2.2).
bool is_of_connection(FieldKind kind) {
  switch (kind) {
    case FieldKind::Connection:
    case FieldKind::KeepAlive:
    case FieldKind::ProxyConnection:
    case FieldKind::TransferEncoding:
    case FieldKind::Upgrade:
    case FieldKind::Http2Settings:
      return true;
    default:
      return false;
  }
}

std::uint8_t* bytes_of(std::string_view text) {
  return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));
}

void put(std::vector<nghttp2_nv>& fields, std::string_view name, std::string_view value,
         FieldKind kind) {
  // Never the same twice, or a secret: not worth a place in the client's table.
  const bool is_once = kind == FieldKind::FlyRequestId || kind == FieldKind::SetCookie;
  fields.push_back(
      {bytes_of(name), bytes_of(value), name.size(), value.size(),
       is_once ? std::uint8_t{NGHTTP2_NV_FLAG_NO_INDEX} : std::uint8_t{NGHTTP2_NV_FLAG_NONE}});
}

// One "name: value" after the other up to an empty line or the end.
void put_lines(std::span<char> lines, bool is_upgrade, std::vector<nghttp2_nv>& fields) {
  std::size_t start = 0;
  std::size_t scanned = 0;
  const std::string_view text(lines.data(), lines.size());
  while (start < text.size()) {
    const std::size_t begin = start;
    const HeadLine line = next_line(text, start, scanned);
    Field field;
    if (line.status != ParseStatus::Complete || !split_field(line.text, field)) return;
    if (is_of_connection(field.kind)) continue;
    if (is_upgrade && equals_lower(field.name, "sec-websocket-accept")) continue;
    std::ranges::transform(
        lines.subspan(begin, field.name.size()), lines.begin() + static_cast<std::ptrdiff_t>(begin),
        [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
    put(fields, field.name, field.value, field.kind);
  }
}

}  // namespace

void H2HeadReader::begin() {
  for (std::string* text :
       {&method_, &scheme_, &authority_, &path_, &protocol_, &host_, &cookie_, &fields_}) {
    text->clear();
  }
  bytes_ = count_ = 0;
  has_length_ = has_host_ = false;
  fault_ = Fault::None;
}

void H2HeadReader::add(std::string_view name, std::string_view value) {
  ++count_;
  bytes_ += name.size() + value.size() + kFieldOverhead;
  if (bytes_ > limits::kMaxHeadBytes) fault_ = Fault::HeadTooLarge;
  if (fault_ != Fault::None) return;
  if (name.starts_with(':')) return add_pseudo(name, value);
  // nghttp2 has looked at both; but what stands in a line of text must be certain here.
  if (!is_token(name) || !is_field_text(value) || is_of_connection(classify(name))) {
    fault_ = Fault::BadRequest;
  } else if (name == "cookie") {  // crumbs are one field again (RFC 9113 §8.2.3)
    if (!cookie_.empty()) cookie_ += "; ";
    cookie_ += value;
  } else if (name == "host") {
    if (std::exchange(has_host_, true)) fault_ = Fault::BadHost;
    host_ = value;
  } else if (name != "sec-websocket-key" || protocol_.empty()) {  // there the key is ours
    if (name == "content-length") has_length_ = true;
    fields_.append(name).append(": ").append(value).append("\r\n");
  }
}

void H2HeadReader::add_pseudo(std::string_view name, std::string_view value) {
  std::string* const into = name == ":method"      ? &method_
                            : name == ":path"      ? &path_
                            : name == ":authority" ? &authority_
                            : name == ":scheme"    ? &scheme_
                            : name == ":protocol"  ? &protocol_
                                                   : nullptr;
  if (into == nullptr || !into->empty() || !is_field_text(value)) {
    fault_ = Fault::BadRequest;
  } else {
    *into = value;
  }
}

// What the parser of HTTP/1.1 can't see once it is one text. `authority`: what counts as Host.
Fault H2HeadReader::judge(std::string_view& authority) const {
  if (fault_ != Fault::None) return fault_;
  authority = authority_.empty() ? host_ : authority_;
  if (has_host_ && !authority_.empty() && !equals_ignoring_case(host_, authority_)) {
    return Fault::BadHost;
  }
  if (method_ == "CONNECT") {
    if (protocol_.empty()) return Fault::MethodNotAllowed;
    return protocol_ == "websocket" && path_.starts_with('/') ? Fault::None : Fault::BadRequest;
  }
  // "GET a b" would be three words of a request line.
  const bool is_one_word = is_token(method_) && path_.find(' ') == std::string::npos;
  const bool is_origin_form = path_.starts_with('/') || path_ == "*";
  const bool is_http = equals_lower(scheme_, "https") || equals_lower(scheme_, "http");
  return is_one_word && is_origin_form && is_http ? Fault::None : Fault::BadRequest;
}

H2HeadReader::Result H2HeadReader::finish(bool has_body, std::uint64_t random) {
  Result result;
  std::string_view authority;
  result.fault = judge(authority);
  if (result.fault != Fault::None) return result;
  result.is_extended_connect = !protocol_.empty();
  std::string& text = result.text;
  text.reserve(method_.size() + path_.size() + authority.size() + fields_.size() + cookie_.size() +
               192);
  text.append(result.is_extended_connect ? "GET" : method_).append(" ").append(path_);
  text.append(" HTTP/1.1\r\nhost: ").append(authority).append("\r\n").append(fields_);
  if (!cookie_.empty()) text.append("cookie: ").append(cookie_).append("\r\n");
  if (result.is_extended_connect) {
    text.append("connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: ");
    std::array<std::uint8_t, 16> key{};
    std::memcpy(key.data(), &random, sizeof random);
    text.append(to_base64(key)).append("\r\n");
  } else if (has_body && !has_length_) {
    text.append("transfer-encoding: chunked\r\n");
  }
  text.append("\r\n");
  return result;
}

bool to_h2_fields(std::span<char> head, std::vector<nghttp2_nv>& fields) {
  fields.clear();
  const std::string_view text(head.data(), head.size());
  const std::size_t line_end = text.find("\r\n");
  if (line_end == std::string_view::npos || line_end < kStatusAt + 3) return false;
  const bool is_upgrade = text.substr(kStatusAt, 3) == "101";
  put(fields, ":status", is_upgrade ? std::string_view("200") : text.substr(kStatusAt, 3),
      FieldKind::Other);
  put_lines(head.subspan(line_end + 2), is_upgrade, fields);
  return true;
}

void to_h2_trailers(std::span<char> lines, std::vector<nghttp2_nv>& fields) {
  fields.clear();
  put_lines(lines, false, fields);
}

}  // namespace rooster::proxy
