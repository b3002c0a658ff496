// NodeConfig: what rooster.toml says, with defaults filled in. The part that needs a restart stands
// apart from the part that a reload may change.
#pragma once

#include "core/address.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::config {

struct ListenAddress {
  std::string host;  ///< "" for all addresses (dual stack), "0.0.0.0", "::1", "127.0.0.1"
  std::uint16_t port = 0;
  friend bool operator==(const ListenAddress&, const ListenAddress&) = default;
};

struct CertificateFiles {
  std::string cert;  ///< PEM, leaf first; absolute
  std::string key;   ///< PEM; absolute
  friend bool operator==(const CertificateFiles&, const CertificateFiles&) = default;
};

/// Userspace: our own WireGuard. Kernel: the kernel's device, set up by the node.
enum class WireguardMode : std::uint8_t { Userspace, Kernel };
/// How packets become connections: in a network namespace, by lwIP, or what is possible.
enum class StackKind : std::uint8_t { Auto, Netns, Lwip };
/// Where machines run: in network namespaces of their own, or in the host's.
enum class NetworkMode : std::uint8_t { Private, Host };

std::string_view name_of(WireguardMode mode);
std::string_view name_of(StackKind stack);
std::string_view name_of(NetworkMode mode);

/// [wireguard]: there is one, so this node is the gateway of private networks.
struct WireguardConfig {
  ListenAddress listen{.host = "", .port = 51820};
  WireguardMode mode = WireguardMode::Userspace;
  std::string interface = "rooster0";  ///< its name for `wg`
  std::uint16_t mtu = 1280;            ///< of the packets sent inside
  std::string endpoint;  ///< "host:port" for peers' files; "": rooster.<domain> and listen's port
  StackKind stack = StackKind::Auto;
  friend bool operator==(const WireguardConfig&, const WireguardConfig&) = default;
};

/// Needs a restart: a reload that changes it says so and leaves it.
struct NodeFixed {
  std::string data = "/var/lib/rooster";
  std::uint32_t workers = 0;  ///< 0: one per core
  bool sandbox = true;        ///< the server shuts itself in
  std::vector<ListenAddress> http;
  std::vector<ListenAddress> https;
  std::string admin_socket;                  ///< path; from "unix:/run/rooster/admin.sock"
  std::optional<WireguardConfig> wireguard;  ///< absent: no private network
  NetworkMode network_mode = NetworkMode::Host;
  std::vector<Endpoint> dns_upstream;  ///< empty: as /etc/resolv.conf says
  friend bool operator==(const NodeFixed&, const NodeFixed&) = default;
};

/// Can change at a reload.
struct NodeReloadable {
  std::string region = "local";
  std::string domain = "app.dev";
  std::string apps = "apps";                     ///< absolute folder
  std::vector<std::string> trusted_proxies;      ///< CIDR: whose X-Forwarded-* count
  std::vector<std::string> proxy_protocol_from;  ///< CIDR: who must send a PROXY header
  std::vector<CertificateFiles> certificates;
  std::string access_log = "-";  ///< path; "-": standard output; "": off
  bool watch = false;            ///< reload when files change
  std::chrono::milliseconds drain_timeout{600'000};
  std::chrono::milliseconds lame_duck{0};
  bool https_redirect_port_443 =
      false;                  ///< force_https points at 443 rather than our own https port
  bool internal_wake = true;  ///< `.internal` lists what can be woken where nothing is started
  bool exec_as_root = false;  ///< may `ssh console` enter an app whose user is root?
  std::chrono::milliseconds peer_timeout{900'000};  ///< a peer silent for so long is gone
  friend bool operator==(const NodeReloadable&, const NodeReloadable&) = default;
};

/// The host that serves enrolment and WireGuard over WebSocket: no app may have it.
inline constexpr std::string_view kGatewayName = "rooster";

struct NodeConfig {
  std::string file;
  NodeFixed fixed;
  NodeReloadable reloadable;

  /// "rooster.<domain>".
  std::string gateway_host() const;
  /// Where peers send their datagrams: [wireguard] endpoint, or its default; `bound_port` stands
  /// for a port of 0 in either. "": no [wireguard].
  std::string wireguard_endpoint(std::uint16_t bound_port = 0) const;
  friend bool operator==(const NodeConfig&, const NodeConfig&) = default;
};

}  // namespace rooster::config
