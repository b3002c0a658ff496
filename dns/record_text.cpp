#include "dns/record_text.hpp"

#include "core/address.hpp"
#include "dns/directory.hpp"
#include "dns/name.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <utility>

namespace rooster::dns {
namespace {

constexpr auto kTypes = std::to_array<std::pair<std::uint16_t, std::string_view>>({
    {type::kA, "A"},
    {type::kNs, "NS"},
    {type::kCname, "CNAME"},
    {type::kSoa, "SOA"},
    {type::kPtr, "PTR"},
    {13, "HINFO"},
    {type::kMx, "MX"},
    {type::kTxt, "TXT"},
    {17, "RP"},
    {type::kAaaa, "AAAA"},
    {type::kSrv, "SRV"},
    {type::kNaptr, "NAPTR"},
    {type::kDname, "DNAME"},
    {type::kOpt, "OPT"},
    {43, "DS"},
    {44, "SSHFP"},
    {46, "RRSIG"},
    {47, "NSEC"},
    {48, "DNSKEY"},
    {50, "NSEC3"},
    {52, "TLSA"},
    {type::kSvcb, "SVCB"},
    {type::kHttps, "HTTPS"},
    {type::kTkey, "TKEY"},
    {type::kTsig, "TSIG"},
    {type::kIxfr, "IXFR"},
    {type::kAxfr, "AXFR"},
    {type::kAny, "ANY"},
    {257, "CAA"},
});

constexpr auto kRcodes = std::to_array<std::pair<std::uint16_t, std::string_view>>({
    {0, "NOERROR"},
    {1, "FORMERR"},
    {2, "SERVFAIL"},
    {3, "NXDOMAIN"},
    {4, "NOTIMP"},
    {5, "REFUSED"},
    {6, "YXDOMAIN"},
    {7, "YXRRSET"},
    {8, "NXRRSET"},
    {9, "NOTAUTH"},
    {10, "NOTZONE"},
    {16, "BADVERS"},
});

/// The number behind a prefix: 65 of "TYPE65".
std::optional<std::uint16_t> numbered(std::string_view text, std::string_view prefix) {
  if (!equal_folded(text.substr(0, prefix.size()), prefix)) return std::nullopt;
  text.remove_prefix(prefix.size());
  std::uint16_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::string generic(std::string_view data) {
  std::string text = fmt::format("\\# {}", data.size());
  if (!data.empty()) text += ' ';
  for (const char c : data) text += fmt::format("{:02X}", static_cast<unsigned char>(c));
  return text;
}

std::string address_text(std::string_view data) {
  if (data.size() == 4) {
    std::uint32_t number = 0;
    for (const char c : data) number = number << 8 | static_cast<unsigned char>(c);
    return IpAddress::v4(number).to_string();
  }
  std::array<std::uint8_t, 16> bytes{};
  std::memcpy(bytes.data(), data.data(), bytes.size());
  return IpAddress::from_bytes(bytes).to_string();
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f) {
      out += fmt::format("\\{:03}", byte);
      continue;
    }
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::optional<std::string> strings_text(std::string_view data) {
  std::string text;
  Reader reader(data);
  while (!reader.at_end()) {
    const auto length = reader.u8();
    const auto part = reader.bytes(*length);
    if (!part) return std::nullopt;
    if (!text.empty()) text += ' ';
    text += quoted(*part);
  }
  return text;
}

/// Numbers of 16 bits, then names, then numbers of 32: MX, SRV, SOA and all of one name.
std::optional<std::string> fields_text(std::string_view data, std::size_t shorts, std::size_t names,
                                       std::size_t longs) {
  std::string text;
  Reader reader(data);
  const auto add = [&](const std::string& field) { text += (text.empty() ? "" : " ") + field; };
  for (std::size_t i = 0; i < shorts; ++i) {
    const auto number = reader.u16();
    if (!number) return std::nullopt;
    add(std::to_string(*number));
  }
  for (std::size_t i = 0; i < names; ++i) {
    const auto name = reader.plain_name();
    if (!name) return std::nullopt;
    add(name_to_text(*name));
  }
  for (std::size_t i = 0; i < longs; ++i) {
    const auto number = reader.u32();
    if (!number) return std::nullopt;
    add(std::to_string(*number));
  }
  if (!reader.at_end()) return std::nullopt;
  return text;
}

std::optional<std::string> caa_text(std::string_view data) {
  Reader reader(data);
  const auto flags = reader.u8();
  const auto length = reader.u8();
  if (!flags || !length) return std::nullopt;
  const auto tag = reader.bytes(*length);
  if (!tag) return std::nullopt;
  return fmt::format("{} {} {}", *flags, *tag, quoted(data.substr(2u + *length)));
}

std::optional<std::string> known_text(const Record& record) {
  switch (record.type) {
    case type::kA:
      return record.data.size() == 4 ? std::optional(address_text(record.data)) : std::nullopt;
    case type::kAaaa:
      return record.data.size() == 16 ? std::optional(address_text(record.data)) : std::nullopt;
    case type::kTxt:
    case 13:
      return strings_text(record.data);
    case 257:
      return caa_text(record.data);
    case type::kSrv:
      return fields_text(record.data, 3, 1, 0);
    case type::kSoa:
      return fields_text(record.data, 0, 2, 5);
    case type::kMx:
    case 18:
    case 21:
      return fields_text(record.data, 1, 1, 0);
    default:
      break;
  }
  const auto names = names_in_data(record.type);
  if (!names || names->skip != 0) return std::nullopt;
  return fields_text(record.data, 0, names->names, 0);
}

}  // namespace

std::string type_to_text(std::uint16_t type) {
  const auto found = std::ranges::find(kTypes, type, [](const auto& pair) { return pair.first; });
  if (found != kTypes.end()) return std::string(found->second);
  return fmt::format("TYPE{}", type);
}

std::optional<std::uint16_t> type_from_text(std::string_view text) {
  const auto found = std::ranges::find_if(
      kTypes, [&](const auto& pair) { return equal_folded(pair.second, text); });
  if (found != kTypes.end()) return found->first;
  return numbered(text, "TYPE");
}

std::string class_to_text(std::uint16_t klass) {
  switch (klass) {
    case kClassIn:
      return "IN";
    case 3:
      return "CH";
    case 4:
      return "HS";
    case 255:
      return "ANY";
    default:
      return fmt::format("CLASS{}", klass);
  }
}

std::string rcode_to_text(std::uint16_t rcode) {
  const auto found = std::ranges::find(kRcodes, rcode, [](const auto& pair) { return pair.first; });
  if (found != kRcodes.end()) return std::string(found->second);
  return fmt::format("RCODE{}", rcode);
}

std::string data_to_text(const Record& record) {
  return known_text(record).value_or(generic(record.data));
}

}  // namespace rooster::dns
