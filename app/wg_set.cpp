#include "app/wg_set.hpp"

#include <algorithm>
#include <limits>
#include <string>

namespace rooster::app {

void apply_wg_set(const tunnel::UapiRequest& request, cluster::Registry& registry, WallTime now) {
  for (const tunnel::UapiPeer& asked : request.peers) {
    const cluster::PeerPtr peer = registry.find_peer(asked.key.bytes);
    if (!peer) continue;  // gone since it was asked
    if (asked.remove) {
      const std::string network(registry.addresses().name_of(peer->network));
      registry.remove_peer(network, peer->name, now, [](const Result<cluster::PeerPtr>&) {});
      continue;
    }
    cluster::PeerChange change;
    if (asked.preshared) {
      change.preshared.emplace();
      if (!asked.preshared->is_zero()) *change.preshared = asked.preshared->bytes();
    }
    if (asked.keepalive) {
      constexpr std::chrono::seconds::rep kMost = std::numeric_limits<std::uint16_t>::max();
      change.keepalive_seconds = static_cast<std::uint16_t>(
          std::clamp<std::chrono::seconds::rep>(asked.keepalive->count(), 0, kMost));
    }
    registry.change_peer(peer->key, change, [](const Result<cluster::PeerPtr>&) {});
  }
}

}  // namespace rooster::app
