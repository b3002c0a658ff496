#include "app/gateway_counts.hpp"

namespace rooster::app {

void write_gateway_counts(MetricsPage& page, const GatewayCounts& counts) {
  page.family("rooster_wireguard_peers", "gauge", "WireGuard peers by whether a session lives");
  page.sample({{"session", "yes"}}, counts.sessions);
  page.sample({{"session", "no"}}, counts.peers - counts.sessions);
  page.family("rooster_wireguard_packets_total", "counter", "Packets inside the tunnels");
  page.sample({{"direction", "in"}}, counts.packets_in);
  page.sample({{"direction", "out"}}, counts.packets_out);
  page.family("rooster_wireguard_datagrams_total", "counter", "UDP datagrams");
  page.sample({{"direction", "in"}}, counts.datagrams_in);
  page.sample({{"direction", "out"}}, counts.datagrams_out);
  page.family("rooster_wireguard_refused_datagrams_total", "counter",
              "Datagrams that got no answer, by why");
  page.sample({{"reason", "malformed"}}, counts.malformed);
  page.sample({{"reason", "unknown_index"}}, counts.unknown_index);
  page.sample({{"reason", "unauthentic"}}, counts.unauthentic);
  page.sample({{"reason", "replayed"}}, counts.replayed);
  page.sample({{"reason", "unknown_peer"}}, counts.unknown_peer);
  page.sample({{"reason", "rate_limited"}}, counts.rate_limited);
  page.family("rooster_wireguard_cookies_total", "counter", "Cookie replies sent under load");
  page.sample({}, counts.cookies_sent);
  page.family("rooster_wireguard_dropped_packets_total", "counter",
              "Packets of peers that went no further, by why");
  page.sample({{"reason", "other_network"}}, counts.foreign);
  page.sample({{"reason", "forbidden"}}, counts.forbidden);
  page.sample({{"reason", "over_limit"}}, counts.over_limit);
  page.sample({{"reason", "queue_full"}}, counts.queue_full);
  page.family("rooster_dns_queries_total", "counter", "Questions to the private name server");
  page.sample({}, counts.dns_queries);
  page.family("rooster_dns_outcomes_total", "counter", "Questions by what became of them");
  page.sample({{"outcome", "malformed"}}, counts.dns_malformed);
  page.sample({{"outcome", "refused"}}, counts.dns_refused);
  page.sample({{"outcome", "truncated"}}, counts.dns_truncated);
  page.sample({{"outcome", "recursive"}}, counts.dns_recursive);
  page.sample({{"outcome", "from_cache"}}, counts.dns_from_cache);
}

}  // namespace rooster::app
