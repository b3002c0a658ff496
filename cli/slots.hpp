// Slots: a user's own keys in a network. No two processes use one key: each takes a slot, which a
// lock holds for as long as the process lives (kill -9 frees it), and a slot without a key enrols
// one.
//   <login's folder>/slot-N.key    a private key, as `wg genkey` writes it; locked
//   <login's folder>/slot-N.state  when it last said hello (TAI64N), and what the gateway said
#pragma once

#include "cli/gateway_client.hpp"
#include "cli/peer_file.hpp"
#include "core/descriptor.hpp"
#include "core/error.hpp"
#include "core/loop.hpp"
#include "core/task.hpp"
#include "tunnel/key.hpp"
#include "tunnel/tai64n.hpp"

#include <optional>
#include <string>

namespace rooster::cli {

class Slot {
 public:
  static constexpr int kMost = 64;

  /// The first that nobody has, of `login`'s folder. Errors: Internal, with the folder and the
  /// mend.
  static Result<Slot> take(const Login& login);

  int number() const { return number_; }
  /// Has it a key that this login's token enrolled?
  bool is_enrolled() const { return membership_.has_value(); }
  const tunnel::PrivateKey& key() const { return key_; }
  /// Only where is_enrolled().
  const Membership& membership() const { return *membership_; }
  /// The next initiation is later than this.
  tunnel::Tai64n last_sent() const { return last_sent_; }
  /// To be called soon after each initiation: the next process must not repeat it.
  void keep(tunnel::Tai64n last_sent);

  /// Gets a fresh key a place in the network, whatever was before. Errors: GatewayClient's.
  Task<> enrol(GatewayClient& gateway, Waiter& waiter, TimePoint deadline);

 private:
  Slot(int number, std::string stem, Descriptor lock, std::string token_id);
  void load();
  Result<> adopt(const tunnel::PrivateKey& key, const boost::json::value& peer);

  int number_;
  std::string stem_;  // ".../slot-0"
  Descriptor lock_;   // slot-N.key
  std::string token_id_;
  tunnel::PrivateKey key_;
  std::optional<Membership> membership_;
  tunnel::Tai64n last_sent_{};
};

/// A file's key, for this process alone. Errors: PeerExists, with the pid of who uses it; Internal.
Result<Descriptor> lock_key(const tunnel::PublicKey& key);

}  // namespace rooster::cli
