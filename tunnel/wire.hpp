// The four messages of WireGuard as bytes: sizes and places (paper §5.4.2 to §5.4.7).
#pragma once

#include "tunnel/little_endian.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace rooster::tunnel::wire {

enum class Type : std::uint8_t { Initiation = 1, Response = 2, CookieReply = 3, Data = 4 };

inline constexpr std::size_t kTypeBytes = 4;  // the type and three reserved zeros
inline constexpr std::size_t kMacBytes = 16;

// Initiation: type, sender, ephemeral, static, timestamp, mac1, mac2.
inline constexpr std::size_t kInitiationBytes = 148;
inline constexpr std::size_t kInitiationSender = 4;
inline constexpr std::size_t kInitiationEphemeral = 8;
inline constexpr std::size_t kInitiationStatic = 40;
inline constexpr std::size_t kInitiationStaticBytes = 48;
inline constexpr std::size_t kInitiationTimestamp = 88;
inline constexpr std::size_t kInitiationTimestampBytes = 28;

// Response: type, sender, receiver, ephemeral, empty, mac1, mac2.
inline constexpr std::size_t kResponseBytes = 92;
inline constexpr std::size_t kResponseSender = 4;
inline constexpr std::size_t kResponseReceiver = 8;
inline constexpr std::size_t kResponseEphemeral = 12;
inline constexpr std::size_t kResponseEmpty = 44;
inline constexpr std::size_t kResponseEmptyBytes = 16;

// Cookie reply: type, receiver, nonce, cookie.
inline constexpr std::size_t kCookieReplyBytes = 64;
inline constexpr std::size_t kCookieReceiver = 4;
inline constexpr std::size_t kCookieNonce = 8;
inline constexpr std::size_t kCookieNonceBytes = 24;
inline constexpr std::size_t kCookieSealed = 32;
inline constexpr std::size_t kCookieSealedBytes = 32;

// Data: type, receiver, counter, packet.
inline constexpr std::size_t kDataReceiver = 4;
inline constexpr std::size_t kDataCounter = 8;
inline constexpr std::size_t kDataPacket = 16;

inline void put_type(std::span<std::uint8_t> message, Type type) {
  store32(message.data(), static_cast<std::uint32_t>(type));
}

// Both handshake messages end with mac1 and mac2.
inline std::size_t mac1_at(std::size_t message_bytes) {
  return message_bytes - 2 * kMacBytes;
}
inline std::size_t mac2_at(std::size_t message_bytes) {
  return message_bytes - kMacBytes;
}

}  // namespace rooster::tunnel::wire
