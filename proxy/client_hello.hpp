// The name in a TLS ClientHello, read from the first bytes of a connection without taking them.
// Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace rooster::proxy {

/// A hello and its records are at most this long; browsers' are below 3 KiB.
inline constexpr std::size_t kMaxHelloBytes = 18 * 1024;

struct HelloPeek {
  enum class Status : std::uint8_t {
    NeedMore,
    Complete,
    NotTls,  ///< or a hello that makes no sense
  };
  Status status = Status::NeedMore;
  std::string sni{};  ///< in its one spelling (RFC 6066 §3); "": none, or no host name
};

/// `bytes`: what has come so far, from the very first byte.
HelloPeek peek_client_hello(std::string_view bytes);

}  // namespace rooster::proxy
