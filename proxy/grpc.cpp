#include "proxy/grpc.hpp"

#include <charconv>
#include <chrono>

namespace rooster::proxy {

namespace {

using namespace std::chrono_literals;

// gRPC's codes, as far as an edge has reason to say them.
constexpr int kUnknown = 2;
constexpr int kDeadlineExceeded = 4;
constexpr int kPermissionDenied = 7;
constexpr int kResourceExhausted = 8;
constexpr int kUnimplemented = 12;
constexpr int kInternal = 13;
constexpr int kUnavailable = 14;
constexpr int kUnauthenticated = 16;

std::optional<Duration> unit_of(char letter) {
  switch (letter) {
    case 'H':
      return 1h;
    case 'M':
      return 1min;
    case 'S':
      return 1s;
    case 'm':
      return 1ms;
    case 'u':
      return 1us;
    case 'n':
      return 1ns;
    default:
      return std::nullopt;
  }
}

}  // namespace

std::string_view grpc_type(const RequestHead& head) {
  if (head.method != Method::Post) return {};
  const Field* type = head.find(FieldKind::ContentType);
  constexpr std::string_view kType = "application/grpc";
  if (type == nullptr || type->value.size() < kType.size()) return {};
  const bool is_grpc = equals_lower(type->value.substr(0, kType.size()), kType);
  const std::string_view rest = is_grpc ? type->value.substr(kType.size()) : "x";
  return rest.empty() || rest[0] == '+' || rest[0] == ';' || rest[0] == '-' ? type->value : "";
}

std::optional<Duration> grpc_timeout(const RequestHead& head) {
  const Field* field = head.find("grpc-timeout");
  if (field == nullptr || field->value.size() < 2 || field->value.size() > 9) return std::nullopt;
  const std::string_view digits = field->value.substr(0, field->value.size() - 1);
  const auto unit = unit_of(field->value.back());
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  const bool is_whole = error == std::errc{} && end == digits.data() + digits.size();
  if (!unit || !is_whole || number < 0 || number > Duration(24h) / *unit) return std::nullopt;
  return number * *unit;
}

int grpc_status(Fault fault, bool too_late) {
  if (too_late || fault == Fault::UpstreamTimeout) return kDeadlineExceeded;
  switch (describe(fault).status) {
    case 400:
      return kInternal;
    case 401:
      return kUnauthenticated;
    case 403:
      return kPermissionDenied;
    case 404:
      return kUnimplemented;
    case 413:
    case 414:
    case 431:
      return kResourceExhausted;
    case 429:
    case 502:
    case 503:
    case 504:
      return kUnavailable;
    default:
      return kUnknown;
  }
}

std::string grpc_message(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7F && c != '%') {
      out += c;
    } else {
      out += {'%', kHex[byte >> 4U], kHex[byte & 15U]};
    }
  }
  return out;
}

}  // namespace rooster::proxy
