#include "core/address.hpp"

#include <charconv>
#include <cstring>

#include <arpa/inet.h>

namespace rooster {

namespace {
constexpr std::array<std::uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  if (text.size() > 2 && text.front() == '[' && text.back() == ']') {
    text = text.substr(1, text.size() - 2);
  }
  char buffer[INET6_ADDRSTRLEN] = {};
  if (text.empty() || text.size() >= sizeof buffer) return std::nullopt;
  std::memcpy(buffer, text.data(), text.size());
  in_addr four{};
  if (inet_pton(AF_INET, buffer, &four) == 1) return v4(ntohl(four.s_addr));
  IpAddress address;
  if (inet_pton(AF_INET6, buffer, address.bytes_.data()) == 1) return address;
  return std::nullopt;
}

IpAddress IpAddress::v4(std::uint32_t host_order) {
  IpAddress address;
  std::memcpy(address.bytes_.data(), kMappedPrefix.data(), kMappedPrefix.size());
  const std::uint32_t network_order = htonl(host_order);
  std::memcpy(address.bytes_.data() + 12, &network_order, 4);
  return address;
}

bool IpAddress::is_v4() const {
  return std::memcmp(bytes_.data(), kMappedPrefix.data(), kMappedPrefix.size()) == 0;
}

bool IpAddress::is_loopback() const {
  if (is_v4()) return bytes_[12] == 127;
  for (std::size_t i = 0; i < 15; ++i) {
    if (bytes_[i] != 0) return false;
  }
  return bytes_[15] == 1;
}

std::size_t IpAddress::write(char* out) const {
  if (is_v4()) {
    char* end = out;
    for (std::size_t i = 12; i < 16; ++i) {
      if (i > 12) *end++ = '.';
      end = std::to_chars(end, end + 3, bytes_[i]).ptr;
    }
    return static_cast<std::size_t>(end - out);
  }
  inet_ntop(AF_INET6, bytes_.data(), out, INET6_ADDRSTRLEN);
  return std::strlen(out);
}

std::string IpAddress::to_string() const {
  char text[INET6_ADDRSTRLEN];
  return std::string(text, write(text));
}

Endpoint Endpoint::from(const sockaddr_storage& socket_address) {
  Endpoint endpoint;
  if (socket_address.ss_family == AF_INET) {
    sockaddr_in four{};
    std::memcpy(&four, &socket_address, sizeof four);
    endpoint.address = IpAddress::v4(ntohl(four.sin_addr.s_addr));
    endpoint.port = ntohs(four.sin_port);
  } else if (socket_address.ss_family == AF_INET6) {
    sockaddr_in6 six{};
    std::memcpy(&six, &socket_address, sizeof six);
    std::array<std::uint8_t, 16> bytes;
    std::memcpy(bytes.data(), &six.sin6_addr, bytes.size());
    endpoint.address = IpAddress::from_bytes(bytes);
    endpoint.port = ntohs(six.sin6_port);
  }
  return endpoint;
}

socklen_t Endpoint::to(sockaddr_storage& out) const {
  out = {};
  if (address.is_v4()) {
    sockaddr_in four{};
    four.sin_family = AF_INET;
    four.sin_port = htons(port);
    std::memcpy(&four.sin_addr, address.bytes().data() + 12, 4);
    std::memcpy(&out, &four, sizeof four);
    return sizeof four;
  }
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(port);
  std::memcpy(&six.sin6_addr, address.bytes().data(), 16);
  std::memcpy(&out, &six, sizeof six);
  return sizeof six;
}

std::string Endpoint::to_string() const {
  const std::string host = address.to_string();
  return (address.is_v4() ? host : "[" + host + "]") + ":" + std::to_string(port);
}

}  // namespace rooster
