// UnixAddress: a path as a socket address.
#pragma once

#include <cstddef>
#include <cstring>
#include <optional>
#include <string_view>

#include <sys/socket.h>
#include <sys/un.h>

namespace rooster::net {

class UnixAddress {
 public:
  /// nullopt if `path` does not fit (107 bytes).
  static std::optional<UnixAddress> of(std::string_view path) {
    UnixAddress made;
    if (path.empty() || path.size() >= sizeof made.address_.sun_path) return std::nullopt;
    std::memcpy(made.address_.sun_path, path.data(), path.size());
    return made;
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address_); }
  socklen_t size() const { return sizeof address_; }

 private:
  UnixAddress() { address_.sun_family = AF_UNIX; }
  sockaddr_un address_{};
};

}  // namespace rooster::net
