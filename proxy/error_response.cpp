#include "proxy/error_response.hpp"

#include "core/json_text.hpp"
#include "proxy/grpc.hpp"

#include <algorithm>
#include <array>

namespace rooster::proxy {
namespace {

constexpr std::string_view kStyle =
    "body{margin:0;min-height:100vh;display:grid;place-items:center;background:#faf7f2;color:#"
    "2b2622;"
    "font:16px/1.6 system-ui,sans-serif}main{max-width:34rem;padding:2rem}h1{font-size:3.2rem;"
    "margin:0;color:#b4361e}h2{margin:.2rem 0 1rem;font-weight:600}dl{display:grid;"
    "grid-template-columns:auto 1fr;gap:.1rem 1rem;font-size:.85rem;color:#6d645c}dt{font-weight:"
    "600}dd{margin:0;font-family:ui-monospace,monospace;overflow-wrap:anywhere}@media(prefers-"
    "color-"
    "scheme:dark){body{background:#1c1917;color:#ece7e1}dl{color:#a59c93}h1{color:#f0785f}}";

// Only visible ASCII: what comes from outside can't end a field or a line.
bool is_safe_value(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7F; });
}

bool contains_ignoring_case(std::string_view text, std::string_view word) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::ranges::search(text, word, {}, lower, lower).begin() != text.end();
}

void append_row(std::string& html, std::string_view term, std::string_view text) {
  if (text.empty()) return;
  html += "<dt>";
  html += term;
  html += "</dt><dd>";
  append_html_escaped(html, text);
  html += "</dd>";
}

std::string seconds_text(const Refusal& refusal) {
  return std::to_string(std::max<std::int64_t>(refusal.retry_after->count(), 1));
}

std::string html_body(const Refusal& refusal, const FaultText& text) {
  const std::string status = std::to_string(text.status);
  const std::string_view reason = reason_phrase(text.status);
  std::string html =
      "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport "
      "content=\"width=device-width\"><title>";
  html += status;
  html += ' ';
  html += reason;
  html += "</title><style>";
  html += kStyle;
  html += "</style><main><h1>";
  html += status;
  html += "</h1><h2>";
  html += reason;
  html += "</h2><p>";
  append_html_escaped(html, text.hint);
  html += "</p><dl>";
  append_row(html, "App", refusal.app);
  append_row(html, "Reason", text.token);
  append_row(html, "Code", text.code);
  if (refusal.retry_after) append_row(html, "Retry in", seconds_text(refusal) + " s");
  append_row(html, "Request", refusal.request_id);
  html += "</dl></main></html>\n";
  return html;
}

std::string json_body(const Refusal& refusal, const FaultText& text) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().field("status", text.status).field("error", text.token);
  if (!text.code.empty()) json.field("code", text.code);
  json.field("message", text.hint);
  if (!refusal.app.empty()) json.field("app", refusal.app);
  if (refusal.retry_after) {
    json.field("retry_after", std::max<std::int64_t>(refusal.retry_after->count(), 1));
  }
  if (!refusal.request_id.empty()) json.field("request_id", refusal.request_id);
  json.end_object();
  out += '\n';
  return out;
}

std::string status_line(std::uint16_t status) {
  std::string head = "HTTP/1.1 ";
  append_number(head, status);
  head += ' ';
  head += reason_phrase(status);
  head += "\r\n";
  return head;
}

void append_field(std::string& head, std::string_view name, std::string_view value) {
  head += name;
  head += ": ";
  head += value;
  head += "\r\n";
}

void append_request_id(std::string& head, std::string_view request_id) {
  if (!request_id.empty() && is_safe_value(request_id)) {
    append_field(head, "Fly-Request-Id", request_id);
  }
}

void append_end(std::string& head, std::size_t body_bytes, bool close) {
  append_field(head, "Content-Length", std::to_string(body_bytes));
  if (close) append_field(head, "Connection", "close");
  head += "\r\n";
}

// Bytes that a target may not have in a field are encoded, '%' and all else stay as they came.
void append_target(std::string& out, std::string_view target) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  for (const char c : target) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > ' ' && byte < 0x7F && c != '"' && c != '<' && c != '>' && c != '\\') {
      out += c;
      continue;
    }
    out += '%';
    out += kHex[byte >> 4U];
    out += kHex[byte & 15U];
  }
}

bool is_host(std::string_view host) {
  return !host.empty() && std::ranges::all_of(host, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == ':' || c == '[' || c == ']';
  });
}

// "Trailers-Only": what gRPC reads as the call's status stands in the head.
std::string write_grpc_refusal(const Refusal& refusal) {
  const FaultText text = describe(refusal.fault);
  std::string head = status_line(200);
  append_field(head, "Content-Type",
               is_safe_value(refusal.grpc_type) ? refusal.grpc_type : "application/grpc");
  append_field(head, "Grpc-Status",
               std::to_string(grpc_status(refusal.fault, refusal.grpc_too_late)));
  append_field(head, "Grpc-Message", grpc_message(text.hint));
  append_field(head, "Rooster-Fault", text.token);
  append_request_id(head, refusal.request_id);
  if (refusal.retry_after) append_field(head, "Retry-After", seconds_text(refusal));
  append_end(head, 0, refusal.close);
  return head;
}

}  // namespace

std::string_view reason_phrase(std::uint16_t status) {
  switch (status) {
    case 100:
      return "Continue";
    case 103:
      return "Early Hints";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 303:
      return "See Other";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 417:
      return "Expectation Failed";
    case 421:
      return "Misdirected Request";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Unknown";
  }
}

ErrorPage make_error_page(const Refusal& refusal) {
  const FaultText text = describe(refusal.fault);
  // 499 is a log entry only: its client has left.
  if (text.status == 0 || refusal.fault == Fault::ClientLeft) return {};
  if (contains_ignoring_case(refusal.accept, "text/html")) {
    return {text.status, "text/html; charset=utf-8", html_body(refusal, text)};
  }
  return {text.status, "application/json", json_body(refusal, text)};
}

std::string write_refusal(const Refusal& refusal) {
  const ErrorPage page = make_error_page(refusal);
  if (page.status == 0) return {};
  if (!refusal.grpc_type.empty()) return write_grpc_refusal(refusal);
  std::string head = status_line(page.status);
  append_field(head, "Content-Type", page.content_type);
  append_field(head, "Cache-Control", "no-store");
  append_field(head, "Rooster-Fault", describe(refusal.fault).token);
  append_request_id(head, refusal.request_id);
  if (refusal.retry_after) append_field(head, "Retry-After", seconds_text(refusal));
  if (page.status == 405)
    append_field(head, "Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
  append_end(head, page.body.size(), refusal.close);
  if (!refusal.head_only) head += page.body;
  return head;
}

std::string write_https_redirect(std::string_view host, std::string_view target,
                                 std::uint16_t https_port, std::string_view request_id,
                                 bool close) {
  if (!is_host(host) || !target.starts_with('/')) {
    return write_refusal({.fault = Fault::BadHost, .request_id = request_id, .close = true});
  }
  std::string location = "https://";
  location += host;
  if (https_port != 443) {
    location += ':';
    append_number(location, https_port);
  }
  append_target(location, target);
  std::string head = status_line(301);
  append_field(head, "Location", location);
  append_request_id(head, request_id);
  append_end(head, 0, close);
  return head;
}

std::string write_options_response(std::string_view request_id, bool close) {
  std::string head = status_line(200);
  append_field(head, "Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
  append_request_id(head, request_id);
  append_end(head, 0, close);
  return head;
}

}  // namespace rooster::proxy
