#include "tunnel/noise.hpp"

#include "tunnel/aead.hpp"

#include <algorithm>

namespace rooster::tunnel {
namespace {

constexpr std::string_view kConstruction = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
constexpr std::string_view kIdentifier = "WireGuard v1 zx2c4 Jason@zx2c4.com";

// AEAD(k, 0, plain, H): every key of a handshake seals one thing.
void seal_once(Algorithms& algorithms, const Secret& key, const Digest& transcript, Bytes plain,
               std::uint8_t* out) {
  Aead(algorithms, key).seal(nonce_of(0), transcript, plain, 0, out);
}

bool open_once(Algorithms& algorithms, const Secret& key, const Digest& transcript, Bytes sealed,
               std::uint8_t* out) {
  return Aead(algorithms, key).open(nonce_of(0), transcript, sealed, out);
}

PublicKey key_at(Bytes message, std::size_t at) {
  PublicKey key;
  std::ranges::copy(message.subspan(at, kKeyBytes), key.bytes.begin());
  return key;
}

}  // namespace

// C := HASH(construction); H := HASH(HASH(C || identifier) || S_pub of the responder).
NoiseState::NoiseState(Algorithms& algorithms, const PublicKey& responder)
    : chaining_(algorithms.hash({bytes_of(kConstruction)})),
      hash_(algorithms.hash({chaining_.bytes, bytes_of(kIdentifier)})) {
  mix_hash(algorithms, responder.bytes);
}

void NoiseState::mix_hash(Algorithms& algorithms, Bytes bytes) {
  hash_ = algorithms.hash({hash_, bytes});
}

void NoiseState::mix_key(Algorithms& algorithms, Bytes input) {
  chaining_ = algorithms.derive1(chaining_, input);
}

Secret NoiseState::mix_key_for_seal(Algorithms& algorithms, Bytes input) {
  const KeyPair2 keys = algorithms.derive2(chaining_, input);
  chaining_ = keys.first;
  return keys.second;
}

Secret NoiseState::mix_preshared(Algorithms& algorithms, const PresharedKey& preshared) {
  const KeyTriple keys = algorithms.derive3(chaining_, preshared.bytes());
  chaining_ = keys.first;
  mix_hash(algorithms, keys.second.bytes);
  return keys.third;
}

TransportKeys NoiseState::split(Algorithms& algorithms, bool is_initiator) const {
  const KeyPair2 keys = algorithms.derive2(chaining_, {});
  if (is_initiator) return {keys.first, keys.second};
  return {keys.second, keys.first};
}

std::optional<PendingInitiation> write_initiation(Algorithms& algorithms, const X25519Key& own,
                                                  const NoisePeer& peer, X25519Key ephemeral,
                                                  const Tai64n& stamp, InitiationBytes message) {
  NoiseState state(algorithms, peer.key);
  // C := KDF1(C, E_pub); msg.ephemeral := E_pub; H := HASH(H || msg.ephemeral).
  const PublicKey& ephemeral_key = ephemeral.public_key();
  state.mix_key(algorithms, ephemeral_key.bytes);
  std::ranges::copy(ephemeral_key.bytes, &message[wire::kInitiationEphemeral]);
  state.mix_hash(algorithms, ephemeral_key.bytes);
  // (C, k) := KDF2(C, DH(E, S_r)); msg.static := AEAD(k, 0, S_pub, H).
  const auto shared = ephemeral.agree(peer.key);
  if (!shared) return std::nullopt;
  const Secret static_key = state.mix_key_for_seal(algorithms, shared->bytes);
  std::uint8_t* const sealed_static = &message[wire::kInitiationStatic];
  seal_once(algorithms, static_key, state.transcript(), own.public_key().bytes, sealed_static);
  state.mix_hash(algorithms, Bytes(sealed_static, wire::kInitiationStaticBytes));
  // (C, k) := KDF2(C, DH(S_i, S_r)); msg.timestamp := AEAD(k, 0, TIMESTAMP(), H).
  const Secret stamp_key = state.mix_key_for_seal(algorithms, peer.static_static.bytes);
  std::uint8_t* const sealed_stamp = &message[wire::kInitiationTimestamp];
  seal_once(algorithms, stamp_key, state.transcript(), stamp.bytes, sealed_stamp);
  state.mix_hash(algorithms, Bytes(sealed_stamp, wire::kInitiationTimestampBytes));
  return PendingInitiation{std::move(ephemeral), state};
}

std::optional<OpenedInitiation> open_initiation(Algorithms& algorithms, const X25519Key& own,
                                                ConstInitiationBytes message) {
  OpenedInitiation opened{
      NoiseState(algorithms, own.public_key()), key_at(message, wire::kInitiationEphemeral), {}};
  NoiseState& state = opened.state;
  state.mix_key(algorithms, opened.ephemeral.bytes);
  state.mix_hash(algorithms, opened.ephemeral.bytes);
  const auto shared = own.agree(opened.ephemeral);
  if (!shared) return std::nullopt;
  const Secret static_key = state.mix_key_for_seal(algorithms, shared->bytes);
  const Bytes sealed = message.subspan<wire::kInitiationStatic, wire::kInitiationStaticBytes>();
  if (!open_once(algorithms, static_key, state.transcript(), sealed,
                 opened.initiator.bytes.data())) {
    return std::nullopt;
  }
  state.mix_hash(algorithms, sealed);
  return opened;
}

std::optional<Tai64n> open_timestamp(Algorithms& algorithms, OpenedInitiation& opened,
                                     const Secret& static_static, ConstInitiationBytes message) {
  const Secret key = opened.state.mix_key_for_seal(algorithms, static_static.bytes);
  const Bytes sealed =
      message.subspan<wire::kInitiationTimestamp, wire::kInitiationTimestampBytes>();
  Tai64n stamp;
  if (!open_once(algorithms, key, opened.state.transcript(), sealed, stamp.bytes.data())) {
    return std::nullopt;
  }
  opened.state.mix_hash(algorithms, sealed);
  return stamp;
}

std::optional<TransportKeys> write_response(Algorithms& algorithms, OpenedInitiation opened,
                                            const PresharedKey& preshared,
                                            const X25519Key& ephemeral, ResponseBytes message) {
  NoiseState& state = opened.state;
  // C := KDF1(C, E_pub); msg.ephemeral := E_pub; H := HASH(H || msg.ephemeral).
  const PublicKey& ephemeral_key = ephemeral.public_key();
  state.mix_key(algorithms, ephemeral_key.bytes);
  std::ranges::copy(ephemeral_key.bytes, &message[wire::kResponseEphemeral]);
  state.mix_hash(algorithms, ephemeral_key.bytes);
  // C := KDF1(C, DH(E_r, E_i)); C := KDF1(C, DH(E_r, S_i)).
  const auto ephemerals = ephemeral.agree(opened.ephemeral);
  const auto ephemeral_static = ephemeral.agree(opened.initiator);
  if (!ephemerals || !ephemeral_static) return std::nullopt;
  state.mix_key(algorithms, ephemerals->bytes);
  state.mix_key(algorithms, ephemeral_static->bytes);
  // (C, t, k) := KDF3(C, Q); H := HASH(H || t); msg.empty := AEAD(k, 0, e, H).
  const Secret empty_key = state.mix_preshared(algorithms, preshared);
  seal_once(algorithms, empty_key, state.transcript(), {}, &message[wire::kResponseEmpty]);
  return state.split(algorithms, false);
}

std::optional<TransportKeys> read_response(Algorithms& algorithms, const X25519Key& own,
                                           const PendingInitiation& pending,
                                           const PresharedKey& preshared,
                                           ConstResponseBytes message) {
  // A copy: a forged response must leave the pending handshake as it is.
  NoiseState state = pending.state;
  const PublicKey ephemeral = key_at(message, wire::kResponseEphemeral);
  state.mix_key(algorithms, ephemeral.bytes);
  state.mix_hash(algorithms, ephemeral.bytes);
  const auto ephemerals = pending.ephemeral.agree(ephemeral);
  const auto static_ephemeral = own.agree(ephemeral);
  if (!ephemerals || !static_ephemeral) return std::nullopt;
  state.mix_key(algorithms, ephemerals->bytes);
  state.mix_key(algorithms, static_ephemeral->bytes);
  const Secret empty_key = state.mix_preshared(algorithms, preshared);
  const Bytes sealed = message.subspan<wire::kResponseEmpty, wire::kResponseEmptyBytes>();
  std::uint8_t nothing = 0;
  if (!open_once(algorithms, empty_key, state.transcript(), sealed, &nothing)) {
    return std::nullopt;
  }
  return state.split(algorithms, true);
}

}  // namespace rooster::tunnel
