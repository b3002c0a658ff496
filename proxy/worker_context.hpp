// WorkerContext: what the coroutines of one worker share. Built by app/worker; belongs to that
// worker's thread.
#pragma once

#include "config/app_config.hpp"
#include "core/buffer.hpp"
#include "core/loop.hpp"
#include "machines/app_view.hpp"
#include "machines/wake_gate.hpp"
#include "proxy/access_log.hpp"
#include "proxy/client_address.hpp"
#include "proxy/encoder.hpp"
#include "proxy/gateway_door.hpp"
#include "proxy/h1_body.hpp"
#include "proxy/request_id.hpp"
#include "proxy/response_head.hpp"
#include "proxy/router.hpp"
#include "proxy/static_file.hpp"
#include "proxy/upstream_pool.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rooster::tls {
class ServerContext;
}

namespace rooster::proxy {

class SocketStock;
class Tunnel;

/// The node's settings that requests look at; replaced as a whole at a reload.
struct EdgeSettings {
  std::string region;
  std::string domain;
  std::string gateway_host;  ///< "rooster.<domain>"; "" where nothing answers there
  CidrList trusted_proxies;
  std::uint16_t https_port = 443;  ///< where force_https sends
  /// A WireGuard peer that has been silent for so long is gone.
  std::chrono::milliseconds peer_timeout = std::chrono::minutes(15);
};

/// Connections of the whole process; one for all workers.
struct ConnectionBudget {
  explicit ConnectionBudget(std::size_t max) : max_clients(max) {}
  const std::size_t max_clients;
  std::atomic<std::size_t> clients{0};

  /// Connections of a private network. Networks whose numbers end alike share a count.
  std::atomic<std::size_t>& of_network(NetworkId network) {
    return networks[network.value % networks.size()];
  }
  std::array<std::atomic<std::size_t>, 256> networks{};
};

/// Scratch memory of one worker: nothing in it lives over a suspension.
struct Scratch {
  static constexpr std::size_t kOutBytes = 128 * 1024;
  std::unique_ptr<char[]> in = std::make_unique_for_overwrite<char[]>(limits::kMaxRelayBytes);
  std::unique_ptr<char[]> to_client = std::make_unique_for_overwrite<char[]>(kOutBytes);
  std::unique_ptr<char[]> to_upstream = std::make_unique_for_overwrite<char[]>(kOutBytes);
  ResponseHead response;

  std::span<char> in_span() { return {in.get(), limits::kMaxRelayBytes}; }
  std::span<char> to_client_span() { return {to_client.get(), kOutBytes}; }
  std::span<char> to_upstream_span() { return {to_upstream.get(), kOutBytes}; }
};

/// What a connection needs only while a request is in hand.
struct RequestInHand {
  RequestHead head;
  BodyReader body;
};

/// Requests in hand are large: lent like blocks.
class HeadPool {
 public:
  std::unique_ptr<RequestInHand> take();
  void give(std::unique_ptr<RequestInHand> head);

 private:
  std::vector<std::unique_ptr<RequestInHand>> heads_;
};

struct WorkerContext {
  WorkerId id;
  Loop& loop;
  TaskGroup& sessions;
  Router& router;
  machines::WakeGate& gate;
  UpstreamPool& pool;
  WorkerMetrics& metrics;
  AccessRing& access_log;
  RequestIdSource& request_ids;
  tls::ServerContext* tls = nullptr;
  ConnectionBudget& budget;
  SocketStock* sockets = nullptr;  ///< into machines' namespaces; null: no machine has one
  BlockPool blocks{limits::kReadBufferBytes, 256};
  HeadPool heads;
  Scratch scratch;
  EncoderStock encoders;
  Background background;  ///< for what may wait for a disk
  StaticFiles statics;
  std::shared_ptr<const EdgeSettings> settings;
  /// Indexed by AppId; each with a control block of this worker's own, so that pinning one never
  /// contends.
  std::vector<machines::AppViewPtr> views;
  GatewayDoor gateway_door;  ///< only where settings name a gateway_host
  bool draining = false;     ///< no further request on any connection
  Link tunnels;              ///< every open Tunnel
  Link idle;                 ///< every ClientSession that waits for a request, idle longest first
  std::uint64_t random_state = 0x9E3779B97F4A7C15ull;

  const machines::AppViewPtr& view(AppId app) const { return views[app.value]; }
  /// xorshift: for ties between machines, never for secrets.
  std::uint64_t random();
  /// "Sat, 21 Nov 2026 10:00:00 GMT", made once a second.
  std::string_view http_date();
  /// As of the loop's turn.
  WallTime wall_now();
  /// place_fields() of `port` and our region. The view holds until the next call.
  std::string_view place(std::uint16_t port);

  std::string date;  ///< http_date()'s
  std::int64_t date_second = 0;
  WallTime wall{};  ///< wall_now()'s
  TimePoint wall_at{};
  std::vector<std::pair<std::uint16_t, std::string>> places;  ///< by port
  std::string places_region;
};

}  // namespace rooster::proxy
