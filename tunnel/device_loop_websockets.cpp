// A DeviceLoop's WebSocket connections.
#include "tunnel/device_loop.hpp"
#include "tunnel/device_loop_parts.hpp"

#include <algorithm>

namespace rooster::tunnel {
namespace {

using namespace std::chrono_literals;

constexpr auto kWebsocketPatience = 5s;

}  // namespace

std::size_t DeviceLoop::websockets_of(const Endpoint& source) const {
  const auto same = [&source](const auto& entry) {
    const auto& a = entry.second->source.address.bytes();
    const auto& b = source.address.bytes();
    const std::ptrdiff_t prefix = source.address.is_v4() ? 16 : 8;
    return std::equal(a.begin(), a.begin() + prefix, b.begin());
  };
  return static_cast<std::size_t>(std::count_if(websockets_.begin(), websockets_.end(), same));
}

std::uint32_t DeviceLoop::add_websocket(std::unique_ptr<Stream> stream, WebsocketRole role,
                                        const Endpoint& source, std::string input) {
  const bool is_full =
      websockets_.size() >= kMaxWebsockets ||
      (role == WebsocketRole::Server && websockets_of(source) >= kMaxWebsocketsPerSource);
  if (stopping_ || is_full) {
    ++counters_.websockets_refused;
    return 0;
  }
  const std::uint32_t number = next_websocket_++;
  auto websocket = std::make_shared<Websocket>();
  websocket->source = source;
  websocket->role = role;
  WebsocketHooks hooks;
  hooks.received = [this, number, raw = websocket.get()](std::span<std::uint8_t> datagram) {
    const auto from = TunnelEndpoint::websocket(number, raw->source);
    if (take_datagram(datagram, from, now()) != PeerId{}) raw->transport->authenticate();
    give_packets();  // the next datagram may lie in the same memory
  };
  hooks.burst_ended = [this] { flush(); };
  websocket->transport = std::make_unique<WebsocketTransport>(std::move(stream), role,
                                                              std::move(input), std::move(hooks));
  websockets_.emplace(number, websocket);
  group_.spawn(serve_websocket(number, std::move(websocket)));
  return websockets_.contains(number) ? number : 0;
}

Task<> DeviceLoop::serve_websocket(std::uint32_t number, std::shared_ptr<Websocket> websocket) {
  const bool must_show = websocket->role == WebsocketRole::Server;
  const Duration patience = must_show ? Duration(kWebsocketPatience) : Duration(24h);
  auto ended = co_await websocket->transport->run(group_, patience);
  counters_.websocket_dropped += websocket->transport->dropped();
  websockets_.erase(number);
  device_.forget_websocket(number);
  const Error why = ended ? Error(Fault::UpstreamReset, "closed") : ended.error();
  if (!stopping_ && hooks_.websocket_ended) hooks_.websocket_ended(number, why);
  co_return {};
}

void DeviceLoop::close_websocket(std::uint32_t websocket) {
  const auto found = websockets_.find(websocket);
  if (found != websockets_.end()) found->second->transport->close();
}

}  // namespace rooster::tunnel
