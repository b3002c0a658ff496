// Cookies: under load a responder makes initiators prove their address before it spends a
// Diffie-Hellman on them (paper §5.3, §5.4.4, §5.4.7). CookieMaker is the side that asks,
// MacStamper the side that is asked.
#pragma once

#include "core/time.hpp"
#include "tunnel/algorithms.hpp"
#include "tunnel/key.hpp"
#include "tunnel/tunnel_endpoint.hpp"
#include "tunnel/wire.hpp"
#include "tunnel/xchacha.hpp"

#include <cstdint>
#include <optional>
#include <span>

namespace rooster::tunnel {

using CookieReplyBytes = std::span<std::uint8_t, wire::kCookieReplyBytes>;
using ConstCookieReplyBytes = std::span<const std::uint8_t, wire::kCookieReplyBytes>;

class CookieMaker {
 public:
  CookieMaker(Algorithms& algorithms, const PublicKey& own);

  bool is_mac1_right(Algorithms& algorithms, Bytes message) const;
  /// Whether the sender has shown the cookie of its present address.
  bool is_mac2_right(Algorithms& algorithms, Bytes message, const TunnelEndpoint& from,
                     RandomSource& random, TimePoint now);
  /// The answer to `message`, which named its sender `index`.
  void write_reply(Algorithms& algorithms, Bytes message, std::uint32_t index,
                   const TunnelEndpoint& from, RandomSource& random, TimePoint now,
                   CookieReplyBytes reply);

 private:
  Tag16 cookie_of(Algorithms& algorithms, const TunnelEndpoint& from, RandomSource& random,
                  TimePoint now);

  Secret mac1_key_;
  Secret cookie_key_;
  Secret secret_;
  std::optional<TimePoint> secret_since_;
};

class MacStamper {
 public:
  MacStamper(Algorithms& algorithms, const PublicKey& peer);

  /// Fills mac1 and, with a cookie that is still valid, mac2 of a handshake message.
  void stamp(Algorithms& algorithms, std::span<std::uint8_t> message, TimePoint now);
  /// Takes the cookie for what was stamped last. False: it does not belong to that.
  bool take_reply(Algorithms& algorithms, ConstCookieReplyBytes reply, TimePoint now);
  void forget_cookie() { cookie_.reset(); }

 private:
  Secret mac1_key_;
  Secret cookie_key_;
  std::optional<Tag16> last_mac1_;
  std::optional<Tag16> cookie_;
  TimePoint cookie_since_{};
};

}  // namespace rooster::tunnel
