// GatewayDoor: where connections to rooster.<domain> leave the worker, once and for good, with what
// was read of their request: enrolment goes to the admin side, WireGuard over WebSocket to the
// tunnel.
#pragma once

#include "core/address.hpp"
#include "core/stream.hpp"

#include <functional>
#include <string>
#include <string_view>

namespace rooster::proxy {

struct RequestHead;

struct GatewayArrival {
  Stream::Parts connection;  ///< TLS, handshake done; belongs to no loop
  std::string input;         ///< the request so far, from its first byte; its head is vetted
  IpAddress source;
  bool wants_websocket = false;
};
using GatewayDoor = std::function<void(GatewayArrival)>;

/// Is the request for the node itself? `gateway_host`: "" where there is none.
bool is_for_gateway(const RequestHead& head, std::string_view gateway_host);

}  // namespace rooster::proxy
