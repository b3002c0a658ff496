#include "proxy/client_head.hpp"

#include "proxy/head_writer.hpp"

#include <algorithm>

namespace rooster::proxy {
namespace {

constexpr std::string_view kServer = "Rooster";
constexpr std::string_view kVia = "1.1 rooster";
constexpr std::string_view kServerAndVia = "Server: Rooster\r\nVia: 1.1 rooster\r\n";

struct Passed {
  bool via = false;
  bool date = false;
};

// A rule may touch anything but what frames the message.
bool is_rule_allowed(FieldKind kind) {
  return kind != FieldKind::ContentLength && kind != FieldKind::TransferEncoding &&
         !is_hop_by_hop(kind);
}

bool has_rule(const ResponseRules& rules, std::string_view name) {
  return std::ranges::any_of(rules.headers, [&](const config::HeaderRule& rule) {
    return rule.name.size() == name.size() &&
           std::ranges::equal(rule.name, name, [](char a, char b) {
             const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? c | 0x20 : c; };
             return lower(a) == lower(b);
           });
  });
}

bool passes(const Field& field, const ResponseRules& rules, Passed& passed) {
  switch (field.kind) {
    case FieldKind::ContentLength:
    case FieldKind::TransferEncoding:
    case FieldKind::RoosterOther:
    case FieldKind::Trailer:
      return false;
    case FieldKind::Date:
      passed.date = true;
      return true;
    case FieldKind::Server:
    case FieldKind::FlyRequestId:
      return rules.pristine;
    case FieldKind::Via:
      passed.via = true;
      return rules.pristine;
    // The app's way to say "do not compress" (Fly); no coding of this name exists.
    case FieldKind::ContentEncoding:
      return rules.pristine || !equals_lower(field.value, "none");
    default:
      return !is_hop_by_hop(field.kind);
  }
}

void write_status_line(const ResponseHead& head, HeadWriter& out) {
  out.text("HTTP/1.1 ");
  out.number(head.status);
  out.text(" ");
  out.text(head.reason);
  out.text("\r\n");
}

void write_via(const ResponseHead& head, bool came, HeadWriter& out) {
  if (!came) return out.field("Via", kVia);
  out.begin_list("Via");
  for (const Field& field : head.fields()) {
    if (field.kind == FieldKind::Via) out.list_element(field.value);
  }
  out.list_element(kVia);
  out.end_list();
}

void write_ours(const ResponseHead& head, const ResponseRules& rules, const Passed& passed,
                HeadWriter& out) {
  const auto free = [&](std::string_view name) {
    return rules.headers.empty() || !has_rule(rules, name);
  };
  if (!passed.date && !rules.date.empty() && free("date")) out.field("Date", rules.date);
  if (!rules.pristine) {
    if (rules.headers.empty() && !passed.via) {
      out.text(kServerAndVia);
    } else {
      if (free("server")) out.field("Server", kServer);
      if (free("via")) write_via(head, passed.via, out);
    }
    if (!rules.request_id.empty() && free("fly-request-id"))
      out.field("Fly-Request-Id", rules.request_id);
  }
  if (!rules.server_timing.empty()) out.field("Server-Timing", rules.server_timing);
  for (const config::HeaderRule& rule : rules.headers) {
    if (!rule.values || !is_token(rule.name) || !is_rule_allowed(classify(rule.name))) continue;
    for (const std::string& value : *rule.values) out.field(rule.name, value);
  }
}

// How the body goes on to this client (RFC 9112 §6.3): its end must be visible to it.
Framing to_client_framing(const ResponseHead& head, const ResponseRules& rules) {
  switch (head.body.kind) {
    case BodyKind::Chunked:
    case BodyKind::UntilClose:
      return {rules.client_minor == 0 ? BodyKind::UntilClose : BodyKind::Chunked, 0};
    default:
      return head.body;
  }
}

void write_framing(const ResponseHead& head, const ClientHead& result, const ResponseRules& rules,
                   HeadWriter& out) {
  if (result.body.kind == BodyKind::Chunked) {
    out.text("Transfer-Encoding: chunked\r\n");
  } else if (head.has_length && head.status != 204 && result.body.kind != BodyKind::UntilClose) {
    out.field("Content-Length", head.content_length);
  }
  if (!result.keep_alive) {
    out.text("Connection: close\r\n");
  } else if (rules.client_minor == 0) {
    out.text("Connection: keep-alive\r\n");
  }
}

}  // namespace

ClientHead to_client_head(const ResponseHead& head, const ResponseRules& rules, char* out,
                          std::size_t capacity) {
  HeadWriter writer(out, capacity);
  ClientHead result;
  write_status_line(head, writer);
  const Nominated nominated(head);
  Passed passed;
  for (const Field& field : head.fields()) {
    const bool kept =
        field.kind == FieldKind::Other ? !nominated.removes(field) : passes(field, rules, passed);
    if (kept && (rules.headers.empty() || !has_rule(rules, field.name)))
      writer.field(field.name, field.value);
  }
  result.keep_alive = rules.keep_alive;
  if (!head.is_interim()) write_ours(head, rules, passed, writer);
  if (head.is_upgrade()) {
    writer.text("Connection: Upgrade\r\n");
    writer.field("Upgrade", head.upgrade_protocol);
  } else if (!head.is_interim()) {
    result.body = to_client_framing(head, rules);
    if (result.body.kind == BodyKind::UntilClose) result.keep_alive = false;
    write_framing(head, result, rules, writer);
  }
  writer.text("\r\n");
  result.bytes = writer.size();
  return result;
}

}  // namespace rooster::proxy
