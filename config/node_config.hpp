// NodeConfig: what rooster.toml says, with defaults filled in. The part that needs a restart stands
// apart from the part that a reload may change.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
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

/// Needs a restart: a reload that changes it says so and leaves it.
struct NodeFixed {
  std::string data = "/var/lib/rooster";
  std::uint32_t workers = 0;  ///< 0: one per core
  std::vector<ListenAddress> http;
  std::vector<ListenAddress> https;
  std::string admin_socket;  ///< path; from "unix:/run/rooster/admin.sock"
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
      false;  ///< force_https points at 443 rather than our own https port
  friend bool operator==(const NodeReloadable&, const NodeReloadable&) = default;
};

struct NodeConfig {
  std::string file;
  NodeFixed fixed;
  NodeReloadable reloadable;
  friend bool operator==(const NodeConfig&, const NodeConfig&) = default;
};

}  // namespace rooster::config
