// What `wg set` asks of the gateway's peers: preshared keys, keepalives and removals go by the
// registry, so that a restart doesn't undo them.
#pragma once

#include "cluster/registry.hpp"
#include "core/time.hpp"
#include "tunnel/uapi.hpp"

namespace rooster::app {

/// On control's thread. Only what a gateway permits (tunnel::UapiPolicy::Gateway) is in `request`.
void apply_wg_set(const tunnel::UapiRequest& request, cluster::Registry& registry, WallTime now);

}  // namespace rooster::app
