// Replies of UAPI: what a Device is, as text.
#include "tunnel/uapi.hpp"

#include <fmt/format.h>

#include <iterator>

namespace rooster::tunnel {
namespace {

void append_peer(std::string& text, const PeerSettings& settings, const PeerStatistics& numbers) {
  using std::chrono::duration_cast;
  const auto to = std::back_inserter(text);
  fmt::format_to(to, "public_key={}\npreshared_key={}\nprotocol_version=1\n",
                 to_hex(settings.key.bytes), to_hex(settings.preshared.bytes()));
  if (settings.endpoint) {
    fmt::format_to(to, "endpoint={}\n", settings.endpoint.remote.to_string());
  }
  const auto since = numbers.last_handshake.value_or(WallTime()).time_since_epoch();
  const auto seconds = duration_cast<std::chrono::seconds>(since);
  const auto rest = duration_cast<std::chrono::nanoseconds>(since - seconds);
  fmt::format_to(to, "last_handshake_time_sec={}\nlast_handshake_time_nsec={}\n", seconds.count(),
                 rest.count());
  fmt::format_to(to, "tx_bytes={}\nrx_bytes={}\npersistent_keepalive_interval={}\n",
                 numbers.sent_bytes, numbers.received_bytes, settings.keepalive.count());
  for (const Prefix& prefix : settings.allowed_ips) {
    fmt::format_to(to, "allowed_ip={}\n", prefix.to_string());
  }
}

}  // namespace

std::string format_uapi(const Device& device, const UapiDevice& io, Moment now) {
  std::string text;
  const auto to = std::back_inserter(text);
  fmt::format_to(to, "private_key={}\n", to_hex(device.private_key().bytes()));
  if (io.listen_port != 0) fmt::format_to(to, "listen_port={}\n", io.listen_port);
  if (io.firewall_mark != 0) fmt::format_to(to, "fwmark={}\n", io.firewall_mark);
  for (const PeerId peer : device.peers()) {
    const auto settings = device.settings(peer);
    const auto numbers = device.statistics(peer, now);
    if (settings && numbers) append_peer(text, *settings, *numbers);
  }
  return text + format_uapi_error(0);
}

std::string format_uapi_error(int error) {
  // Negative, as wireguard-go writes it and `wg` reads it.
  return fmt::format("errno={}\n\n", -error);
}

}  // namespace rooster::tunnel
