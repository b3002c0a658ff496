#include "tunnel/cookie.hpp"

#include <algorithm>
#include <array>

namespace rooster::tunnel {
namespace {

using namespace std::chrono_literals;

// How long a secret makes cookies, and how long a cookie is used (paper §6.6).
constexpr auto kCookieLife = 120s;

Secret labelled(Algorithms& algorithms, std::string_view label, const PublicKey& key) {
  return Secret(algorithms.hash({bytes_of(label), key.bytes}));
}

Secret mac1_key(Algorithms& algorithms, const PublicKey& key) {
  return labelled(algorithms, "mac1----", key);
}

Secret cookie_key(Algorithms& algorithms, const PublicKey& key) {
  return labelled(algorithms, "cookie--", key);
}

Bytes mac1_of(Bytes message) {
  return message.subspan(wire::mac1_at(message.size()), wire::kMacBytes);
}

Bytes mac2_of(Bytes message) {
  return message.subspan(wire::mac2_at(message.size()), wire::kMacBytes);
}

}  // namespace

CookieMaker::CookieMaker(Algorithms& algorithms, const PublicKey& own)
    : mac1_key_(mac1_key(algorithms, own)), cookie_key_(cookie_key(algorithms, own)) {}

bool CookieMaker::is_mac1_right(Algorithms& algorithms, Bytes message) const {
  const Bytes covered = message.first(wire::mac1_at(message.size()));
  return is_same(algorithms.mac(mac1_key_.bytes, {covered}), mac1_of(message));
}

bool CookieMaker::is_mac2_right(Algorithms& algorithms, Bytes message, const TunnelEndpoint& from,
                                RandomSource& random, TimePoint now) {
  // Zeros are no mac2: most messages carry none, and no cookie need be made to see it.
  if (std::ranges::all_of(mac2_of(message), [](std::uint8_t byte) { return byte == 0; })) {
    return false;
  }
  const Tag16 cookie = cookie_of(algorithms, from, random, now);
  const Bytes covered = message.first(wire::mac2_at(message.size()));
  return is_same(algorithms.mac(cookie, {covered}), mac2_of(message));
}

void CookieMaker::write_reply(Algorithms& algorithms, Bytes message, std::uint32_t index,
                              const TunnelEndpoint& from, RandomSource& random, TimePoint now,
                              CookieReplyBytes reply) {
  wire::put_type(reply, wire::Type::CookieReply);
  store32(&reply[wire::kCookieReceiver], index);
  ExtendedNonce nonce;
  random.fill(nonce);
  std::ranges::copy(nonce, &reply[wire::kCookieNonce]);
  const Tag16 cookie = cookie_of(algorithms, from, random, now);
  xchacha_seal(algorithms, cookie_key_, nonce, mac1_of(message), cookie,
               &reply[wire::kCookieSealed]);
}

// t := MAC(R, address and port of the sender), with R renewed every two minutes.
Tag16 CookieMaker::cookie_of(Algorithms& algorithms, const TunnelEndpoint& from,
                             RandomSource& random, TimePoint now) {
  if (!secret_since_ || now - *secret_since_ >= kCookieLife) {
    random.fill(secret_.bytes);
    secret_since_ = now;
  }
  const std::uint16_t port = from.remote.port;
  const std::array<std::uint8_t, 3> rest{static_cast<std::uint8_t>(port >> 8),
                                         static_cast<std::uint8_t>(port),
                                         static_cast<std::uint8_t>(from.kind)};
  return algorithms.mac(secret_.bytes, {from.remote.address.bytes(), rest});
}

MacStamper::MacStamper(Algorithms& algorithms, const PublicKey& peer)
    : mac1_key_(mac1_key(algorithms, peer)), cookie_key_(cookie_key(algorithms, peer)) {}

void MacStamper::stamp(Algorithms& algorithms, std::span<std::uint8_t> message, TimePoint now) {
  const std::size_t mac1 = wire::mac1_at(message.size());
  const std::size_t mac2 = wire::mac2_at(message.size());
  last_mac1_ = algorithms.mac(mac1_key_.bytes, {message.first(mac1)});
  std::ranges::copy(*last_mac1_, &message[mac1]);
  Tag16 proof{};
  if (cookie_ && now - cookie_since_ < kCookieLife) {
    proof = algorithms.mac(*cookie_, {message.first(mac2)});
  }
  std::ranges::copy(proof, &message[mac2]);
}

bool MacStamper::take_reply(Algorithms& algorithms, ConstCookieReplyBytes reply, TimePoint now) {
  if (!last_mac1_) return false;
  ExtendedNonce nonce;
  std::ranges::copy(reply.subspan<wire::kCookieNonce, wire::kCookieNonceBytes>(), nonce.begin());
  const Bytes sealed = reply.subspan<wire::kCookieSealed, wire::kCookieSealedBytes>();
  Tag16 cookie;
  if (!xchacha_open(algorithms, cookie_key_, nonce, *last_mac1_, sealed, cookie.data())) {
    return false;
  }
  cookie_ = cookie;
  cookie_since_ = now;
  // One reply for one message: a copy of it changes nothing.
  last_mac1_.reset();
  return true;
}

}  // namespace rooster::tunnel
