#include "proxy/client_address.hpp"

#include "proxy/head_line.hpp"

#include <charconv>
#include <optional>

namespace rooster::proxy {
namespace {

bool is_in(const IpAddress& address, const IpAddress& base, unsigned bits) {
  const auto& a = address.bytes();
  const auto& b = base.bytes();
  const unsigned whole = bits / 8;
  for (unsigned i = 0; i < whole; ++i) {
    if (a[i] != b[i]) return false;
  }
  const unsigned rest = bits % 8;
  return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

// Elements may carry a port, as some front proxies write them: "192.0.2.1:4711",
// "[2001:db8::1]:4711".
std::optional<IpAddress> parse_element(std::string_view element) {
  if (element.starts_with('[')) {
    const std::size_t close = element.find(']');
    if (close == std::string_view::npos) return std::nullopt;
    return IpAddress::parse(element.substr(0, close + 1));
  }
  const std::size_t colon = element.find(':');
  const bool is_v4_with_port = colon != std::string_view::npos && colon == element.rfind(':');
  return IpAddress::parse(is_v4_with_port ? element.substr(0, colon) : element);
}

}  // namespace

Result<CidrList> CidrList::compile(std::span<const std::string> ranges) {
  CidrList list;
  for (const std::string& range : ranges) {
    const std::string_view text = range;
    const std::size_t slash = text.find('/');
    const auto base = IpAddress::parse(text.substr(0, slash));
    if (!base) return fail(Fault::Internal, range);
    const unsigned most = base->is_v4() ? 32 : 128;
    unsigned bits = most;
    if (slash != std::string_view::npos) {
      const char* end = text.data() + text.size();
      const auto [stop, error] = std::from_chars(text.data() + slash + 1, end, bits);
      if (error != std::errc{} || stop != end || bits > most) return fail(Fault::Internal, range);
    }
    list.ranges_.push_back({*base, static_cast<std::uint8_t>(bits + 128 - most)});
  }
  return list;
}

bool CidrList::contains(const IpAddress& address) const {
  for (const Range& range : ranges_) {
    if (is_in(address, range.base, range.bits)) return true;
  }
  return false;
}

IpAddress client_address(const IpAddress& peer, const RequestHead& head, const CidrList& trusted) {
  if (trusted.empty() || !trusted.contains(peer)) return peer;
  IpAddress client = peer;
  const auto fields = head.fields();
  for (std::size_t i = fields.size(); i-- > 0;) {
    if (fields[i].kind != FieldKind::XForwardedFor) continue;
    std::string_view rest = fields[i].value;
    while (!rest.empty()) {
      const std::size_t comma = rest.rfind(',');
      const std::size_t start = comma == std::string_view::npos ? 0 : comma + 1;
      const std::string_view element = trim_blanks(rest.substr(start));
      rest = rest.substr(0, start == 0 ? 0 : comma);
      if (element.empty()) continue;
      const auto address = parse_element(element);
      if (!address) return client;
      client = *address;
      if (!trusted.contains(client)) return client;
    }
  }
  return client;
}

}  // namespace rooster::proxy
