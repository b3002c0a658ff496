// Requests of UAPI: text -> UapiRequest -> Device.
#include "tunnel/uapi.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <set>
#include <utility>

namespace rooster::tunnel {
namespace {

using Errno = int;
constexpr Errno kDone = 0;

template <class Number>
std::optional<Number> number_of(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// "192.0.2.1:51820" or "[2001:db8::1]:51820". A scope ("fe80::1%eth0") is not supported.
std::optional<Endpoint> endpoint_of(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string_view host = text.substr(0, colon);
  const auto address = IpAddress::parse(host);
  const auto port = number_of<std::uint16_t>(text.substr(colon + 1));
  const bool is_bracketed = host.starts_with('[') && host.ends_with(']');
  if (!address || !port || is_bracketed == address->is_v4()) return std::nullopt;
  return Endpoint{*address, *port};
}

// "off" is a zero, as for a mark.
template <class Number>
std::optional<Number> number_or_off(std::string_view text) {
  if (text == "off") return Number{0};
  return number_of<Number>(text);
}

template <class T, class Value>
Errno set(std::optional<T>& field, const std::optional<Value>& value) {
  if (!value) return EINVAL;
  field = T(*value);
  return kDone;
}

Errno set_true(bool& field, std::string_view value) {
  field = true;
  return value == "true" ? kDone : EINVAL;
}

Errno read_device_line(UapiRequest& request, std::string_view key, std::string_view value) {
  if (key == "private_key") return set(request.private_key, key_from_hex(value));
  if (key == "listen_port") return set(request.listen_port, number_of<std::uint16_t>(value));
  if (key == "fwmark") return set(request.firewall_mark, number_or_off<std::uint32_t>(value));
  if (key == "replace_peers") return set_true(request.replace_peers, value);
  return EINVAL;
}

Errno read_peer_line(UapiPeer& peer, std::string_view key, std::string_view value) {
  if (key == "remove") return set_true(peer.remove, value);
  if (key == "update_only") return set_true(peer.update_only, value);
  if (key == "replace_allowed_ips") return set_true(peer.replace_allowed_ips, value);
  if (key == "preshared_key") return set(peer.preshared, key_from_hex(value));
  if (key == "endpoint") return set(peer.endpoint, endpoint_of(value));
  if (key == "protocol_version") return value == "1" ? kDone : EINVAL;
  if (key == "persistent_keepalive_interval") {
    const auto seconds = number_or_off<std::uint16_t>(value);
    if (!seconds) return EINVAL;
    peer.keepalive = std::chrono::seconds(*seconds);
    return kDone;
  }
  if (key == "allowed_ip") {
    const auto prefix = Prefix::parse(value);
    if (!prefix) return EINVAL;
    peer.allowed_ips.push_back(*prefix);
    return kDone;
  }
  return EINVAL;
}

Errno read_line(UapiRequest& request, std::string_view line) {
  const std::size_t equals = line.find('=');
  if (equals == std::string_view::npos) return EINVAL;
  const std::string_view key = line.substr(0, equals);
  const std::string_view value = line.substr(equals + 1);
  // From the first public_key on every line is about the peer named last.
  if (key == "public_key") {
    const auto bytes = key_from_hex(value);
    if (!bytes) return EINVAL;
    request.peers.emplace_back().key = PublicKey{*bytes};
    return kDone;
  }
  if (!request.peers.empty()) return read_peer_line(request.peers.back(), key, value);
  return read_device_line(request, key, value);
}

std::string_view take_line(std::string_view& text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

}  // namespace

bool is_complete_uapi(std::string_view text) {
  return text.starts_with('\n') || text.find("\n\n") != std::string_view::npos;
}

std::expected<UapiRequest, int> parse_uapi(std::string_view text) {
  if (text.size() > kMaxUapiBytes) return std::unexpected(E2BIG);
  UapiRequest request;
  const std::string_view operation = take_line(text);
  request.is_get = operation == "get=1";
  if (!request.is_get && operation != "set=1") return std::unexpected(EINVAL);
  while (true) {
    if (text.empty()) return std::unexpected(EINVAL);  // no empty line: cut off
    const std::string_view line = take_line(text);
    if (line.empty()) return request;
    if (request.is_get) return std::unexpected(EINVAL);
    if (const Errno error = read_line(request, line); error != kDone) {
      return std::unexpected(error);
    }
  }
}

// Allowed IPs, keys and ports are the registry's and the configuration's: what `wg set` made of
// them would undo the separation of networks now, or be undone by the next start.
int refusal_of(const UapiRequest& request, const Device& device, UapiPolicy policy) {
  if (policy == UapiPolicy::All || request.is_get) return kDone;
  if (request.private_key || request.listen_port || request.firewall_mark ||
      request.replace_peers) {
    return EPERM;
  }
  std::set<PublicKey> named;
  for (const UapiPeer& peer : request.peers) {
    // Named twice, a peer could go and come back as another.
    const bool is_again = !named.insert(peer.key).second;
    if (is_again || peer.replace_allowed_ips || !peer.allowed_ips.empty() ||
        !device.find_peer(peer.key)) {
      return EPERM;
    }
  }
  return kDone;
}

namespace {

PeerChange change_of(const UapiPeer& wanted) {
  PeerChange change;
  change.preshared = wanted.preshared;
  change.keepalive = wanted.keepalive;
  if (wanted.endpoint) change.endpoint = TunnelEndpoint::udp(*wanted.endpoint);
  if (wanted.replace_allowed_ips) {
    change.allowed_ips = wanted.allowed_ips;
  } else {
    change.more_allowed_ips = wanted.allowed_ips;
  }
  return change;
}

void apply_peer(const UapiPeer& wanted, Device& device, Moment now) {
  const auto known = device.find_peer(wanted.key);
  if (wanted.remove) {
    if (known) device.remove_peer(*known);
  } else if (known) {
    device.update_peer(*known, change_of(wanted), now);
  } else if (!wanted.update_only) {
    PeerSettings settings;
    settings.key = wanted.key;
    settings.preshared = wanted.preshared.value_or(PresharedKey());
    settings.allowed_ips = wanted.allowed_ips;
    if (wanted.endpoint) settings.endpoint = TunnelEndpoint::udp(*wanted.endpoint);
    settings.keepalive = wanted.keepalive.value_or(std::chrono::seconds(0));
    // Our own key among the peers is passed over, as every implementation does.
    (void)device.add_peer(settings, now);
  }
}

}  // namespace

int apply_uapi(const UapiRequest& request, Device& device, Moment now) {
  if (request.is_get) return EINVAL;
  if (request.private_key) device.set_private_key(*request.private_key);
  if (request.replace_peers) {
    for (const PeerId peer : device.peers()) device.remove_peer(peer);
  }
  for (const UapiPeer& peer : request.peers) apply_peer(peer, device, now);
  return kDone;
}

}  // namespace rooster::tunnel
