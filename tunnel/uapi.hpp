// The text that `wg show` and `wg set` speak over a device's socket
// (https://www.wireguard.com/xplatform/). Pure: text in, text out.
#pragma once

#include "tunnel/device.hpp"

#include <chrono>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::tunnel {

/// A request larger than this is refused.
inline constexpr std::size_t kMaxUapiBytes = 1024 * 1024;

struct UapiPeer {
  PublicKey key;
  bool remove = false;
  bool update_only = false;
  bool replace_allowed_ips = false;
  std::optional<PresharedKey> preshared;
  std::optional<Endpoint> endpoint;
  std::optional<std::chrono::seconds> keepalive;
  std::vector<Prefix> allowed_ips;
};

struct UapiRequest {
  bool is_get = false;
  std::optional<PrivateKey> private_key;
  std::optional<std::uint16_t> listen_port;  ///< the caller's business, as is the mark
  std::optional<std::uint32_t> firewall_mark;
  bool replace_peers = false;
  std::vector<UapiPeer> peers;
};

/// What a device's I/O knows beside the Device.
struct UapiDevice {
  std::uint16_t listen_port = 0;
  std::uint32_t firewall_mark = 0;
};

enum class UapiPolicy : std::uint8_t {
  All,      ///< a bare device
  Gateway,  ///< only endpoint, keepalive and preshared key of known peers, and their removal
};

/// True once `text` holds a whole request: it ends with an empty line.
bool is_complete_uapi(std::string_view text);
/// One request, whole. Errors: an errno, positive.
std::expected<UapiRequest, int> parse_uapi(std::string_view text);
/// 0, or the errno with which `request` is refused under `policy`.
int refusal_of(const UapiRequest& request, const Device& device, UapiPolicy policy);
/// Does to `device` what the request says of keys and peers. Returns 0 or an errno.
int apply_uapi(const UapiRequest& request, Device& device, Moment now);
/// The reply to get=1, with its errno line.
std::string format_uapi(const Device& device, const UapiDevice& io, Moment now);
/// The reply that only says how it went: "errno=0\n\n". `error` is positive.
std::string format_uapi_error(int error);

}  // namespace rooster::tunnel
