#include "proxy/proxy_protocol.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include <arpa/inet.h>

namespace rooster::proxy {

namespace {

using enum ProxyHeader::Status;

constexpr std::string_view kSignature("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr std::string_view kWord = "PROXY ";
constexpr std::size_t kMaxLine = 107;  // §2.1, CRLF included
constexpr std::size_t kHead = 16;      // of v2: signature, command, family, length
constexpr unsigned char kTcp4 = 0x11;
constexpr unsigned char kTcp6 = 0x21;
constexpr std::size_t kBytes4 = 12;
constexpr std::size_t kBytes6 = 36;

bool may_become(std::string_view bytes, std::string_view mark) {
  const std::size_t size = std::min(bytes.size(), mark.size());
  return bytes.substr(0, size) == mark.substr(0, size);
}

std::string_view next_word(std::string_view& line) {
  const std::size_t end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

// Decimal without sign or leading zeros.
std::optional<std::uint16_t> port_of(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (failed != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  if (text.size() > 1 && text.front() == '0') return std::nullopt;
  return port;
}

// inet_pton takes each family's strict form alone.
std::optional<IpAddress> address_of(std::string_view text, int family) {
  std::array<char, INET6_ADDRSTRLEN> zero_ended{};
  if (text.empty() || text.size() >= zero_ended.size()) return std::nullopt;
  std::ranges::copy(text, zero_ended.begin());
  std::array<unsigned char, 16> bytes{};
  if (::inet_pton(family, zero_ended.data(), bytes.data()) != 1) return std::nullopt;
  if (family == AF_INET6) return IpAddress::from_bytes(bytes);
  std::uint32_t four = 0;
  std::memcpy(&four, bytes.data(), sizeof four);
  return IpAddress::v4(ntohl(four));
}

// "TCP4 192.0.2.1 198.51.100.1 56324 443"
ProxyHeader parse_line(std::string_view bytes) {
  const std::size_t end = bytes.substr(0, kMaxLine).find("\r\n");
  if (end == std::string_view::npos) {
    return {bytes.size() < kMaxLine ? NeedMore : Invalid};
  }
  ProxyHeader header{.status = Complete, .bytes = end + 2};
  std::string_view line = bytes.substr(kWord.size(), end - kWord.size());
  const std::string_view family = next_word(line);
  if (family == "UNKNOWN") return header;
  if (family != "TCP4" && family != "TCP6") return {Invalid};
  const int kind = family == "TCP4" ? AF_INET : AF_INET6;
  const auto from = address_of(next_word(line), kind);
  const auto to = address_of(next_word(line), kind);
  const auto from_port = port_of(next_word(line));
  const auto to_port = port_of(line);
  if (!from || !to || !from_port || !to_port) return {Invalid};
  header.ends = Endpoints{{*from, *from_port}, {*to, *to_port}};
  return header;
}

std::uint16_t number16(std::string_view bytes) {
  return static_cast<std::uint16_t>(static_cast<unsigned char>(bytes[0]) << 8U |
                                    static_cast<unsigned char>(bytes[1]));
}

IpAddress address_in(std::string_view bytes) {
  std::array<std::uint8_t, 16> all{};
  if (bytes.size() == 4) all[10] = all[11] = 0xFF;
  std::memcpy(all.data() + all.size() - bytes.size(), bytes.data(), bytes.size());
  return IpAddress::from_bytes(all);
}

ProxyHeader parse_binary(std::string_view bytes) {
  if (bytes.size() < kHead) return {NeedMore};
  const auto command = static_cast<unsigned char>(bytes[12]);
  const auto family = static_cast<unsigned char>(bytes[13]);
  const std::size_t length = number16(bytes.substr(14));
  if (command != 0x20 && command != 0x21) return {Invalid};  // version 2: LOCAL, PROXY
  if (kHead + length > kMaxProxyHeader) return {Invalid};
  if (bytes.size() < kHead + length) return {NeedMore};
  ProxyHeader header{.status = Complete, .bytes = kHead + length};
  if (command == 0x20 || family == 0) return header;
  if (family != kTcp4 && family != kTcp6) return {Invalid};
  const std::size_t size = family == kTcp4 ? 4 : 16;
  if (length < (family == kTcp4 ? kBytes4 : kBytes6)) return {Invalid};
  const std::string_view block = bytes.substr(kHead, length);
  header.ends =
      Endpoints{{address_in(block.substr(0, size)), number16(block.substr(2 * size))},
                {address_in(block.substr(size, size)), number16(block.substr(2 * size + 2))}};
  return header;
}

bool are_both_v4(const Endpoints& ends) {
  return ends.from.address.is_v4() && ends.to.address.is_v4();
}

// A mapped IPv4 address keeps its IPv6 form, as TCP6 wants it.
std::string v6_text(const IpAddress& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(AF_INET6, address.bytes().data(), text.data(), text.size());
  return text.data();
}

void put16(std::string& to, std::uint16_t number) {
  to += static_cast<char>(number >> 8U);
  to += static_cast<char>(number & 0xFFU);
}

}  // namespace

ProxyHeader parse_proxy_header(std::string_view bytes) {
  if (bytes.empty()) return {};
  if (may_become(bytes, kWord)) {
    return bytes.size() < kWord.size() ? ProxyHeader{} : parse_line(bytes);
  }
  if (may_become(bytes, kSignature)) return parse_binary(bytes);
  return {Invalid};
}

std::string make_proxy_v1(const Endpoints& ends) {
  const bool is_v4 = are_both_v4(ends);
  const auto text = [is_v4](const IpAddress& address) {
    return is_v4 ? address.to_string() : v6_text(address);
  };
  return fmt::format("PROXY TCP{} {} {} {} {}\r\n", is_v4 ? 4 : 6, text(ends.from.address),
                     text(ends.to.address), ends.from.port, ends.to.port);
}

std::string make_proxy_v2(const Endpoints& ends) {
  const bool is_v4 = are_both_v4(ends);
  const std::size_t skipped = is_v4 ? 12 : 0;
  std::string header(kSignature);
  header += '\x21';
  header += static_cast<char>(is_v4 ? kTcp4 : kTcp6);
  put16(header, is_v4 ? kBytes4 : kBytes6);
  for (const Endpoint* end : {&ends.from, &ends.to}) {
    const auto& bytes = end->address.bytes();
    header.append(reinterpret_cast<const char*>(bytes.data()) + skipped, bytes.size() - skipped);
  }
  put16(header, ends.from.port);
  put16(header, ends.to.port);
  return header;
}

}  // namespace rooster::proxy
