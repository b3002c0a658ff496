// AppConfig: what one apps/*.toml says, with every default filled in. A value: immutable once
// loaded.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rooster::config {

using namespace std::chrono_literals;

enum class Autostop : std::uint8_t { Off, Stop, Suspend };
enum class Protocol : std::uint8_t { Tcp, Udp };
enum class Handler : std::uint8_t { Http, Tls, PgTls, ProxyProto };
enum class ConcurrencyType : std::uint8_t { Connections, Requests };
enum class DriverKind : std::uint8_t { None, Process, Docker, MachinesApi, Address };

/// How much one machine takes (fly.toml `concurrency`).
struct Concurrency {
  ConcurrencyType type = ConcurrencyType::Connections;
  std::uint32_t soft_limit = 20;
  std::uint32_t hard_limit = 0;  ///< 0: none
  friend bool operator==(const Concurrency&, const Concurrency&) = default;
};

struct TlsOptions {
  std::vector<std::string> alpn;
  std::vector<std::string> versions;
  bool default_self_signed = false;
  friend bool operator==(const TlsOptions&, const TlsOptions&) = default;
};

/// One response header rule: nullopt removes the field, else it is set to these values.
struct HeaderRule {
  std::string name;
  std::optional<std::vector<std::string>> values;
  friend bool operator==(const HeaderRule&, const HeaderRule&) = default;
};

struct ReplayCacheRule {
  std::string path_prefix;
  std::chrono::seconds ttl{10};
  std::string type;  ///< "cookie" or "header"
  std::string name;
  bool allow_bypass = false;
  friend bool operator==(const ReplayCacheRule&, const ReplayCacheRule&) = default;
};

struct HttpOptions {
  std::optional<bool> compress;
  bool pristine = false;  ///< response.pristine: none of our headers added or changed
  std::vector<HeaderRule> response_headers;
  bool h2_backend = false;
  std::optional<std::chrono::seconds> idle_timeout;          ///< on the connection to the app
  std::optional<std::chrono::seconds> headers_read_timeout;  ///< default limits::kHeadTimeout
  std::vector<ReplayCacheRule> replay_cache;
  friend bool operator==(const HttpOptions&, const HttpOptions&) = default;
};

/// One external port, or a range of them, of a service.
struct Port {
  std::uint16_t start = 0;
  std::uint16_t end = 0;  ///< inclusive; equal to start for a single port
  std::vector<Handler> handlers;
  bool force_https = false;
  std::optional<TlsOptions> tls_options;
  HttpOptions http_options;
  std::optional<std::string> proxy_proto_version;  ///< "v1" or "v2"
  bool has(Handler handler) const;
  bool contains(std::uint16_t external_port) const {
    return start <= external_port && external_port <= end;
  }
  friend bool operator==(const Port&, const Port&) = default;
};

/// A service or top-level check.
struct Check {
  enum class Kind : std::uint8_t { Tcp, Http };
  Kind kind = Kind::Tcp;
  std::string name;  ///< "servicecheck-00-http-8080", or the top-level check's own
  std::uint16_t port = 0;
  std::chrono::milliseconds interval = 15s;
  std::chrono::milliseconds timeout = 2s;
  std::chrono::milliseconds grace_period = 1s;
  std::string method = "GET";
  std::string path = "/";
  std::string protocol = "http";  ///< or "https"
  bool tls_skip_verify = false;
  std::string tls_server_name;
  std::vector<std::pair<std::string, std::string>> headers;
  friend bool operator==(const Check&, const Check&) = default;
};

/// [http_service] or one [[services]]: an internal port and how it is reached.
struct Service {
  Protocol protocol = Protocol::Tcp;
  std::uint16_t internal_port = 8080;  ///< 0: same as the external port (ranges)
  std::vector<Port> ports;
  std::vector<std::string> processes;  ///< the groups that carry it
  Autostop autostop = Autostop::Off;
  bool autostart = true;
  std::uint32_t min_machines_running = 0;  ///< in the primary region
  Concurrency concurrency;
  std::vector<Check> checks;
  friend bool operator==(const Service&, const Service&) = default;
};

/// [processes]: the group's name and its command, split as a shell would.
struct Process {
  std::string group = "app";
  std::vector<std::string> command;  ///< empty: none given
  friend bool operator==(const Process&, const Process&) = default;
};

struct Static {
  std::string guest_path;
  std::string folder;  ///< guest_path from [rooster] directory on; "": not below it, not served
  std::string url_prefix;
  std::string tigris_bucket;
  std::string index_document;
  friend bool operator==(const Static&, const Static&) = default;
};

/// Which requests may wake the app (contract 7). Empty lists allow everything.
struct WakePolicy {
  std::vector<std::string> allow_paths;  ///< globs: "/api/*"
  std::vector<std::string> deny_paths;
  std::vector<std::string> allow_methods;
  std::vector<std::string> deny_user_agents;  ///< globs, case-insensitive: "*bot*"
  std::vector<std::string> allow_ranges;      ///< CIDR
  std::vector<std::string> deny_ranges;
  bool sni_prewake = false;       ///< begin the wake at the TLS ClientHello
  bool has_request_rule() const;  ///< a rule that can't be known from SNI
  friend bool operator==(const WakePolicy&, const WakePolicy&) = default;
};

/// Requests that belong together go to one machine, while it can take them.
struct Affinity {
  enum class Kind : std::uint8_t {
    None,
    Cookie,  ///< ours, of this name: it holds the machine
    Header,  ///< equal values of this field meet at one machine
  };
  Kind kind = Kind::None;
  std::string name;
  friend bool operator==(const Affinity&, const Affinity&) = default;
};

/// The [rooster] table: what fly.toml can't say.
struct RoosterTable {
  std::optional<DriverKind> driver;
  std::string address;    ///< address driver: host or ip, the port is the service's internal_port
  std::string directory;  ///< absolute; default: the file's folder
  std::string user;       ///< "": as decided by the keeper (a dynamic uid when root)
  std::vector<std::string> hostnames;  ///< custom domains, exact or "*.example.com"
  std::map<std::string, std::uint32_t>
      machines;  ///< region -> count; default {primary_region: 1}, else {the node's region: 1}
  std::map<std::string, std::uint32_t> min_machines;  ///< region -> minimum running
  std::map<std::string, std::uint32_t> max_machines;  ///< region -> maximum running
  std::string network = "default";
  std::optional<bool> is_public;
  std::chrono::milliseconds idle_timeout = 5min;
  std::chrono::milliseconds wake_timeout = 60s;
  std::optional<std::chrono::milliseconds>
      tunnel_idle;          ///< cut a WebSocket or TCP session this long silent
  bool half_close = false;  ///< a client's half-close while waiting is not "gone"
  bool notify = false;      ///< readiness by NOTIFY_SOCKET READY=1
  Affinity affinity;
  WakePolicy wake;
  friend bool operator==(const RoosterTable&, const RoosterTable&) = default;
};

struct AppConfig {
  std::string name;
  std::string file;  ///< where it was read from
  std::string primary_region;
  std::string kill_signal = "SIGINT";
  std::chrono::milliseconds kill_timeout = 5s;
  std::vector<Service> services;   ///< [http_service] first, as the service Fly makes of it
  std::vector<Process> processes;  ///< at least one; the default group first
  std::vector<std::pair<std::string, std::string>> env;
  std::vector<Static> statics;
  std::vector<Check> checks;  ///< top-level: informational
  std::string image;          ///< [build] image
  RoosterTable rooster;

  DriverKind driver()
      const;  ///< rooster.driver, else command -> process, image -> docker, address -> address
  /// The TCP service behind an external port; nullptr: none. The first one where several claim it.
  const Service* service_for_port(std::uint16_t external_port) const;
  /// How many machines must run in `region`: [rooster] min_machines, else min_machines_running in
  /// the primary one.
  std::uint32_t min_machines_in(std::string_view region) const;
  /// Reachable from outside through this port: as `public` says, else ports with http or tls are
  /// and others aren't.
  bool is_exposed(const Port& port) const;
  friend bool operator==(const AppConfig&, const AppConfig&) = default;
};

}  // namespace rooster::config
