#include "app/admin_network.hpp"

namespace rooster::app {
namespace {

constexpr auto kPatience = std::chrono::seconds(10);

admin::PeerSession session_of(const Gateway::PeerStatus& peer) {
  const tunnel::PeerStatistics& seen = peer.statistics;
  return {.key = peer.key,
          .endpoint = seen.endpoint.remote,
          .is_websocket = seen.endpoint.kind == tunnel::TunnelEndpoint::Kind::Ws,
          .last_handshake = seen.last_handshake.value_or(WallTime{}),
          .received_bytes = seen.received_bytes,
          .sent_bytes = seen.sent_bytes,
          .refused = seen.wrong_source + seen.dropped,
          .alternates = seen.is_shared_key_likely};
}

}  // namespace

Task<std::vector<admin::PeerSession>> AdminNetwork::sessions(Waiter& waiter) {
  using Sessions = std::vector<admin::PeerSession>;
  co_return co_await ask<Sessions>(waiter, network_.gateway().loop(),
                                   waiter.loop().now() + kPatience,
                                   [&gateway = network_.gateway()](Answer<Sessions> answer) {
                                     Sessions sessions;
                                     for (const Gateway::PeerStatus& peer : gateway.status()) {
                                       sessions.push_back(session_of(peer));
                                     }
                                     answer(std::move(sessions));
                                   });
}

}  // namespace rooster::app
