// What the admin side asks of the private network. app/ implements it.
#pragma once

#include "cluster/records.hpp"
#include "cluster/registry.hpp"
#include "core/address.hpp"
#include "core/ask.hpp"
#include "core/error.hpp"
#include "core/loop.hpp"
#include "core/task.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::admin {

/// What peers are told of this gateway.
struct GatewayFacts {
  cluster::Key public_key{};
  std::string endpoint{};   ///< where datagrams go, "rooster.app.dev:51820"
  std::string login_url{};  ///< "https://rooster.app.dev", with a port unless it is 443
  std::string pin{};  ///< SHA-256 of the local CA's public key in base64url; "": a public CA's
  std::string region{};
  std::string interface{};
};

/// A peer's session as the tunnel sees it.
struct PeerSession {
  cluster::Key key{};
  Endpoint endpoint{};
  bool is_websocket = false;
  WallTime last_handshake{};  ///< the epoch: none yet
  std::uint64_t received_bytes = 0;
  std::uint64_t sent_bytes = 0;
  std::uint64_t refused = 0;  ///< packets and connections beyond its limits or not allowed to it
  bool alternates = false;    ///< two processes use its key
};

/// From the admin loop's thread.
class PrivateNetwork {
 public:
  virtual ~PrivateNetwork() = default;
  virtual GatewayFacts facts() const = 0;
  /// The registry lives on this loop's thread, and is asked by ask().
  virtual Loop& registry_loop() = 0;
  virtual cluster::Registry& registry() = 0;
  /// On that thread: `done` is called there once packets go to and from all peers made so far.
  virtual void when_routed(std::move_only_function<void()> done) { done(); }
  virtual Task<std::vector<PeerSession>> sessions(Waiter& waiter) = 0;
  /// The newest `most` executions of an app, or of all (""). Blocks on the disk.
  virtual Result<std::vector<cluster::AuditEntry>> audits(std::string_view app,
                                                          std::size_t most) = 0;
};

/// Asks the registry on its own thread: `question(registry, answer)`. Errors: the answer's;
/// UpstreamTimeout.
template <class T, class Question>
Task<T> ask_registry(PrivateNetwork& network, Waiter& waiter, Question question) {
  constexpr auto kPatience = std::chrono::seconds(10);
  co_return co_await ask<T>(
      waiter, network.registry_loop(), waiter.loop().now() + kPatience,
      [&registry = network.registry(), question = std::move(question)](Answer<T> answer) mutable {
        question(registry, std::move(answer));
      });
}

}  // namespace rooster::admin
