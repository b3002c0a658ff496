#include "dns/rebinding.hpp"

#include "core/private_address.hpp"
#include "dns/directory.hpp"

#include <array>
#include <cstring>

namespace rooster::dns {
namespace {

constexpr std::uint16_t kHint4 = 4;  // RFC 9460 §14.3.2
constexpr std::uint16_t kHint6 = 6;

IpAddress address_of(std::string_view bytes) {
  if (bytes.size() == 4) return IpAddress::v4(*Reader(bytes).u32());
  std::array<std::uint8_t, 16> whole{};
  std::memcpy(whole.data(), bytes.data(), whole.size());
  return IpAddress::from_bytes(whole);
}

bool is_forbidden(const IpAddress& address, bool is_gateway) {
  return is_private(address) || (is_gateway && is_in_private_range(address));
}

/// Addresses of `each` bytes one behind the other.
bool has_forbidden(std::string_view addresses, std::size_t each, bool is_gateway) {
  for (; addresses.size() >= each; addresses.remove_prefix(each)) {
    if (is_forbidden(address_of(addresses.substr(0, each)), is_gateway)) return true;
  }
  return false;
}

/// RFC 9460 §2.2: priority, target, then keys with values. What cannot be read is not passed on.
bool service_has_forbidden(std::string_view data, bool is_gateway) {
  Reader reader(data);
  if (!reader.u16() || !reader.plain_name()) return true;
  while (!reader.at_end()) {
    const auto key = reader.u16();
    const auto length = reader.u16();
    if (!key || !length) return true;
    const auto value = reader.bytes(*length);
    if (!value) return true;
    if (*key == kHint4 && has_forbidden(*value, 4, is_gateway)) return true;
    if (*key == kHint6 && has_forbidden(*value, 16, is_gateway)) return true;
  }
  return false;
}

bool must_go(const Record& record, bool is_gateway) {
  switch (record.type) {
    case type::kA:
      return record.data.size() != 4 || has_forbidden(record.data, 4, is_gateway);
    case type::kAaaa:
      return record.data.size() != 16 || has_forbidden(record.data, 16, is_gateway);
    case type::kSvcb:
    case type::kHttps:
      return service_has_forbidden(record.data, is_gateway);
    default:
      return false;
  }
}

}  // namespace

bool is_in_private_range(const IpAddress& address) {
  const auto& bytes = address.bytes();
  if (address.is_loopback() || address == IpAddress{}) return true;
  if (!address.is_v4()) {
    const bool is_unique_local = (bytes[0] & 0xfe) == 0xfc;
    const bool is_link_local = bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80;
    return is_unique_local || is_link_local;
  }
  const int first = bytes[12];
  const int second = bytes[13];
  return first == 0 || first == 10 || (first == 172 && (second & 0xf0) == 16) ||
         (first == 192 && second == 168) || (first == 169 && second == 254) ||
         (first == 100 && (second & 0xc0) == 64);
}

void remove_private_addresses(Response& response, std::string_view gateway) {
  const bool is_gateway = !gateway.empty() && equal_folded(response.name, gateway);
  for (auto& section : response.sections) {
    std::erase_if(section, [&](const Record& record) { return must_go(record, is_gateway); });
  }
}

}  // namespace rooster::dns
