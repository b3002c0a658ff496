// explain: why a request to a URL would go where, and why an app is awake or asleep. Pure functions
// over the same values and the same rules that the proxy and control use.
#pragma once

#include "admin/node.hpp"
#include "config/config_set.hpp"
#include "core/fault.hpp"
#include "core/time.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::admin {

/// One step of the reasoning.
struct Finding {
  std::string subject;  ///< "host", "route", "state", "machine 908027d3be7938", "to change it"
  std::string text;
};

struct Explanation {
  std::string verdict;        ///< one sentence
  Fault fault = Fault::None;  ///< the refusal a request would get
  std::string app;
  std::vector<Finding> findings;
};

/// A URL in its parts; the port is the one that services see.
struct ParsedUrl {
  bool is_https = true;
  std::string host;
  std::uint16_t port = 443;
  std::string path = "/";
};

/// "https://host[:port]/path", also without a scheme. nullopt: not a URL.
std::optional<ParsedUrl> parse_url(std::string_view text);

/// The route of a URL by the proxy's own Router, and the app it leads to.
struct RouteAnswer {
  Fault fault = Fault::None;
  std::shared_ptr<const config::AppConfig> app;
  const config::Service* service = nullptr;  ///< of `app`
  const config::Port* port = nullptr;
};
RouteAnswer find_route(const config::ConfigSet& config, const ParsedUrl& url);

/// What a GET of the URL would meet now. `facts` is null where there is no route.
Explanation explain_url(const ParsedUrl& url, const RouteAnswer& route, const AppFacts* facts,
                        TimePoint now);

/// Why the app is in the state it is in, who woke it last, why it was stopped last, what would
/// change it.
Explanation explain_app(const AppFacts& facts, TimePoint now, std::int64_t now_boot_ms);

}  // namespace rooster::admin
