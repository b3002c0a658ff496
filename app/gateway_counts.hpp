// GatewayCounts: what the tunnel thread has counted, as a value that other threads may have; and
// its part of the metrics page.
#pragma once

#include "core/metrics_page.hpp"

#include <cstdint>

namespace rooster::app {

struct GatewayCounts {
  std::uint64_t peers = 0;
  std::uint64_t sessions = 0;    ///< peers with a live session
  std::uint64_t packets_in = 0;  ///< inner packets from peers
  std::uint64_t packets_out = 0;
  std::uint64_t datagrams_in = 0;
  std::uint64_t datagrams_out = 0;

  // Datagrams that were not answered, by why.
  std::uint64_t malformed = 0;
  std::uint64_t unknown_index = 0;
  std::uint64_t unauthentic = 0;
  std::uint64_t replayed = 0;
  std::uint64_t unknown_peer = 0;
  std::uint64_t rate_limited = 0;
  std::uint64_t cookies_sent = 0;

  // Packets that went no further, by why.
  std::uint64_t foreign = 0;
  std::uint64_t forbidden = 0;  ///< protocol, scope, extension headers
  std::uint64_t over_limit = 0;
  std::uint64_t queue_full = 0;

  std::uint64_t dns_queries = 0;
  std::uint64_t dns_malformed = 0;
  std::uint64_t dns_refused = 0;
  std::uint64_t dns_truncated = 0;
  std::uint64_t dns_recursive = 0;
  std::uint64_t dns_from_cache = 0;
};

void write_gateway_counts(MetricsPage& page, const GatewayCounts& counts);

}  // namespace rooster::app
