#include "proxy/upstream_head.hpp"

#include "proxy/head_writer.hpp"

#include <algorithm>

namespace rooster::proxy {
namespace {

// What of a trusted peer's fields was passed, and so isn't made anew.
struct Passed {
  bool via = false;
  bool forwarded_for = false;
  bool proto = false;
  bool ssl = false;
  bool port = false;
};

void write_request_line(const RequestHead& head, const Forwarding& forwarding, HeadWriter& out) {
  out.text(head.method_text);
  out.text(" ");
  if (head.absolute_form) {
    out.text(head.path);
    if (head.has_query) out.text("?");
    out.text(head.query);
  } else {
    out.text(head.target);
  }
  out.text(" HTTP/1.1\r\n");
  out.field("Host", head.host.empty() ? forwarding.default_host : head.host);
}

// A trusted peer's field passes once: of two the app might believe either.
bool take_once(bool trusted, bool& passed) {
  const bool takes = trusted && !passed;
  passed = passed || takes;
  return takes;
}

// Does this field go to the app as it came?
bool passes(const Field& field, const RequestHead& head, const Forwarding& forwarding,
            Passed& passed) {
  switch (field.kind) {
    case FieldKind::Host:
    case FieldKind::ContentLength:
    case FieldKind::TransferEncoding:
    case FieldKind::Connection:
    case FieldKind::KeepAlive:
    case FieldKind::ProxyConnection:
    case FieldKind::ProxyOther:
    case FieldKind::Te:
    case FieldKind::Trailer:
    case FieldKind::Upgrade:
    case FieldKind::Http2Settings:
    case FieldKind::FlyRequestId:
    case FieldKind::FlyReplay:
    case FieldKind::FlyOther:
    case FieldKind::RoosterOther:
    case FieldKind::Spoof:
      return false;
    case FieldKind::Via:
      passed.via = true;
      return false;
    case FieldKind::XForwardedFor:
      passed.forwarded_for = true;
      return false;
    case FieldKind::Expect:
      return head.expect_continue && forwarding.expect;
    case FieldKind::XForwardedProto:
      return take_once(forwarding.trusted, passed.proto);
    case FieldKind::XForwardedSsl:
      return take_once(forwarding.trusted, passed.ssl);
    case FieldKind::XForwardedPort:
      return take_once(forwarding.trusted, passed.port);
    case FieldKind::Forwarded:
    case FieldKind::XForwardedOther:
    case FieldKind::XRealIp:
      return forwarding.trusted;
    default:
      return true;
  }
}

// `name: <what came>, ours` as one field, however many came.
void write_appended(const RequestHead& head, FieldKind kind, bool came, std::string_view name,
                    std::string_view ours, HeadWriter& out) {
  if (!came) return out.field(name, ours);
  out.begin_list(name);
  for (const Field& field : head.fields()) {
    if (field.kind == kind) out.list_element(field.value);
  }
  out.list_element(ours);
  out.end_list();
}

void write_place(std::uint16_t port, std::string_view region, bool port_passed, HeadWriter& out) {
  if (!port_passed) out.field("X-Forwarded-Port", port);
  out.field("Fly-Forwarded-Port", port);
  if (!region.empty()) out.field("Fly-Region", region);
}

void write_ours(const RequestHead& head, const Forwarding& forwarding, const Passed& passed,
                HeadWriter& out) {
  const bool https = is_https(head, forwarding);
  out.field("Fly-Client-IP", forwarding.client_address);
  write_appended(head, FieldKind::XForwardedFor, forwarding.trusted && passed.forwarded_for,
                 "X-Forwarded-For", forwarding.peer_address, out);
  if (!passed.proto)
    out.text(https ? "X-Forwarded-Proto: https\r\n" : "X-Forwarded-Proto: http\r\n");
  if (!passed.ssl) out.text(https ? "X-Forwarded-SSL: on\r\n" : "X-Forwarded-SSL: off\r\n");
  if (!passed.port && !forwarding.place.empty()) {
    out.text(forwarding.place);
  } else {
    write_place(forwarding.port, forwarding.region, passed.port, out);
  }
  if (!forwarding.request_id.empty()) out.field("Fly-Request-Id", forwarding.request_id);
  if (!forwarding.preferred_unavailable.empty())
    out.field("Fly-Preferred-Instance-Unavailable", forwarding.preferred_unavailable);
  write_appended(head, FieldKind::Via, passed.via, "Via", forwarding.via, out);
}

void write_connection(const RequestHead& head, const Forwarding& forwarding, HeadWriter& out) {
  if (head.upgrade != Upgrade::None) {
    out.text("Connection: Upgrade\r\n");
    out.field("Upgrade", head.upgrade_protocol);
  } else if (head.te_trailers) {
    out.text(forwarding.close ? "Connection: close, TE\r\nTE: trailers\r\n"
                              : "Connection: TE\r\nTE: trailers\r\n");
  } else if (forwarding.close) {
    out.text("Connection: close\r\n");
  }
}

}  // namespace

bool is_https(const RequestHead& head, const Forwarding& forwarding) {
  if (forwarding.trusted) {
    if (const Field* proto = head.find(FieldKind::XForwardedProto))
      return equals_lower(proto->value, "https");
  }
  return forwarding.tls;
}

std::string place_fields(std::uint16_t port, std::string_view region) {
  std::string text(128 + region.size(), '\0');
  HeadWriter writer(text.data(), text.size());
  write_place(port, region, false, writer);
  text.resize(writer.size());
  return text;
}

std::size_t to_upstream_head(const RequestHead& head, const Forwarding& forwarding, char* out,
                             std::size_t capacity) {
  HeadWriter writer(out, capacity);
  write_request_line(head, forwarding, writer);
  const Nominated nominated(head);
  Passed passed;
  for (const Field& field : head.fields()) {
    if (field.kind == FieldKind::Other ? !nominated.removes(field)
                                       : passes(field, head, forwarding, passed))
      writer.field(field.name, field.value);
  }
  write_ours(head, forwarding, passed, writer);
  write_connection(head, forwarding, writer);
  if (head.body.kind == BodyKind::Chunked) {
    writer.text("Transfer-Encoding: chunked\r\n");
  } else if (head.body.kind == BodyKind::Length) {
    writer.field("Content-Length", head.body.length);
  }
  writer.text("\r\n");
  return writer.size();
}

}  // namespace rooster::proxy
