// Noise_IKpsk2: the handshake of both sides (paper §5.4.1 to §5.4.3, §5.4.5). Pure: keys and bytes
// in, keys and bytes out. Macs, indices, replay and rates are others' business.
//
//   initiator                                   responder
//   write_initiation()  -- e, s, timestamp -->  open_initiation(), open_timestamp()
//   read_response()     <-- e, empty, psk ----  write_response()
#pragma once

#include "tunnel/algorithms.hpp"
#include "tunnel/tai64n.hpp"
#include "tunnel/wire.hpp"
#include "tunnel/x25519_key.hpp"

#include <cstdint>
#include <optional>
#include <span>

namespace rooster::tunnel {

using InitiationBytes = std::span<std::uint8_t, wire::kInitiationBytes>;
using ConstInitiationBytes = std::span<const std::uint8_t, wire::kInitiationBytes>;
using ResponseBytes = std::span<std::uint8_t, wire::kResponseBytes>;
using ConstResponseBytes = std::span<const std::uint8_t, wire::kResponseBytes>;

/// What a handshake is for.
struct TransportKeys {
  Secret send, receive;
};

/// The chaining key C and the transcript hash H.
class NoiseState {
 public:
  NoiseState(Algorithms& algorithms, const PublicKey& responder);

  const Digest& transcript() const { return hash_; }
  void mix_hash(Algorithms& algorithms, Bytes bytes);
  /// C := KDF1(C, input).
  void mix_key(Algorithms& algorithms, Bytes input);
  /// (C, k) := KDF2(C, input).
  Secret mix_key_for_seal(Algorithms& algorithms, Bytes input);
  /// (C, t, k) := KDF3(C, psk); H := HASH(H || t).
  Secret mix_preshared(Algorithms& algorithms, const PresharedKey& preshared);
  /// The two transport keys: the initiator sends with the first.
  TransportKeys split(Algorithms& algorithms, bool is_initiator) const;

 private:
  Secret chaining_;
  Digest hash_;
};

/// A peer as the handshake knows it.
struct NoisePeer {
  const PublicKey& key;
  const Secret& static_static;  ///< DH of both static keys, computed once
  const PresharedKey& preshared;
};

/// The initiator's state while it waits for the response.
struct PendingInitiation {
  X25519Key ephemeral;
  NoiseState state;
};

/// The responder's state between its two steps.
struct OpenedInitiation {
  NoiseState state;
  PublicKey ephemeral;
  PublicKey initiator;  ///< proven to be its own only by open_timestamp()
};

/// Fills ephemeral, static and timestamp of `message`.
std::optional<PendingInitiation> write_initiation(Algorithms& algorithms, const X25519Key& own,
                                                  const NoisePeer& peer, X25519Key ephemeral,
                                                  const Tai64n& stamp, InitiationBytes message);

/// Who sends `message`; unset where it is not for `own`.
std::optional<OpenedInitiation> open_initiation(Algorithms& algorithms, const X25519Key& own,
                                                ConstInitiationBytes message);
/// The time in `message`; unset where the sender does not have the key it names.
std::optional<Tai64n> open_timestamp(Algorithms& algorithms, OpenedInitiation& opened,
                                     const Secret& static_static, ConstInitiationBytes message);

/// Fills ephemeral and empty of `message`, and gives the session's keys.
std::optional<TransportKeys> write_response(Algorithms& algorithms, OpenedInitiation opened,
                                            const PresharedKey& preshared,
                                            const X25519Key& ephemeral, ResponseBytes message);

/// The session's keys; unset where `message` does not answer `pending`.
std::optional<TransportKeys> read_response(Algorithms& algorithms, const X25519Key& own,
                                           const PendingInitiation& pending,
                                           const PresharedKey& preshared,
                                           ConstResponseBytes message);

}  // namespace rooster::tunnel
