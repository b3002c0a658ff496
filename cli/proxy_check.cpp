#include "cli/proxy_check.hpp"

#include "cli/api_call.hpp"
#include "cli/dig_command.hpp"
#include "cli/node_client.hpp"
#include "cli/proxy_texts.hpp"
#include "cli/run_task.hpp"
#include "cli/terminal.hpp"
#include "cli/tunnel_way.hpp"
#include "core/json_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <ostream>

namespace rooster::cli {
namespace {

using namespace std::chrono_literals;
using Outcome = CheckStep::Outcome;

constexpr auto kLinkTime = 5s;
constexpr auto kCallTime = 15s;

std::string why(const Error& error) {
  return error.detail.empty() ? std::string(describe(error.fault).hint) : error.detail;
}

std::string milliseconds(TimePoint since) {
  return fmt::format(
      "{}ms", std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - since).count());
}

class Check {
 public:
  Check(const DeveloperOptions& options, const Console& console)
      : options_(options), console_(console) {}

  int run(const std::vector<ProxyMapping>& mappings) {
    auto way = choose_way(options_, loop_, [](std::string_view) {});
    if (!way) {
      tell("login", Outcome::Failed, way.error().detail);
      return 1;
    }
    auto* const tunnel = dynamic_cast<TunnelWay*>(way->get());
    if (tunnel != nullptr && !check_tunnel(*tunnel)) return 1;
    if (tunnel == nullptr && !check_socket(**way)) return 1;
    std::vector<net::ConnectTarget> seen;
    for (const ProxyMapping& mapping : mappings) {
      if (std::ranges::find(seen, mapping.remote) != seen.end()) continue;
      seen.push_back(mapping.remote);
      if (tunnel != nullptr) check_name(*tunnel, mapping.remote.host);
      check_target(**way, mapping.remote);
    }
    return has_failed_ ? 1 : 0;
  }

 private:
  void tell(std::string name, Outcome outcome, std::string text) {
    if (outcome == Outcome::Failed) has_failed_ = true;
    const CheckStep step{std::move(name), outcome, std::move(text)};
    const Colour colour = outcome == Outcome::Failed ? Colour::Red : Colour::Plain;
    console_.out << paint(console_, options_.as_json ? Colour::Plain : colour,
                          check_line(step, options_.as_json))
                 << '\n'
                 << std::flush;
  }

  bool check_socket(Way& way) {
    const auto opened = way.open_now(loop_, kLinkTime);
    if (opened) {
      tell("node", Outcome::Fine, way.describe());
    } else {
      tell("node", Outcome::Failed, why(opened.error()));
    }
    return opened.has_value();
  }

  bool check_tunnel(TunnelWay& way) {
    if (GatewayClient* const gateway = way.gateway()) {
      tell("login", Outcome::Fine,
           fmt::format(
               "{}, network {}", gateway->login().url(),
               gateway->login().network.empty() ? "of the token" : gateway->login().network));
      const TimePoint start = Clock::now();
      const auto answer = gateway->call_now("GET", "/v1/login");
      // Both can be blocked where UDP is not: a slot's key needs neither.
      const bool is_refused = !answer && answer.error().fault == Fault::BadToken;
      if (answer) {
        tell("tls", Outcome::Fine, fmt::format("answered in {}", milliseconds(start)));
        const auto* const token = answer->as_object().if_contains("token");
        const std::string ends = token == nullptr ? "" : text_at(*token, "expires");
        tell("token", Outcome::Fine,
             fmt::format("{}, allows {}", ends.empty() ? "does not end" : "valid until " + ends,
                         token == nullptr ? "" : text_at(*token, "rights")));
      } else {
        tell(is_refused ? "token" : "tls", is_refused ? Outcome::Failed : Outcome::Without,
             why(answer.error()));
      }
    } else {
      tell("login", Outcome::Without,
           "a peer's file without one: no WebSocket, no exec, one process at a time");
    }
    check_link(way, TunnelWay::Links::Udp, "udp");
    if (way.gateway() != nullptr) check_link(way, TunnelWay::Links::Websocket, "ws");
    way.set_links(TunnelWay::Links::Both);
    if (const auto opened = open(way); !opened) {
      tell("tunnel", Outcome::Failed, why(opened.error()));
      return false;
    }
    const auto handshake = way.renewed_at();
    const auto age = handshake ? std::chrono::duration_cast<std::chrono::milliseconds>(
                                     std::chrono::system_clock::now() - *handshake)
                               : 0ms;
    tell("tunnel", Outcome::Fine,
         fmt::format("{}; handshake {}ms ago", way.describe(), age.count()));
    return true;
  }

  Result<> open(TunnelWay& way) { return way.open_now(loop_, kLinkTime); }

  void check_link(TunnelWay& way, TunnelWay::Links links, const char* name) {
    way.set_links(links);
    const TimePoint start = Clock::now();
    const auto opened = open(way);
    if (opened) {
      tell(name, Outcome::Fine, fmt::format("the gateway answers, in {}", milliseconds(start)));
    } else {
      tell(name, Outcome::Without, why(opened.error()));
    }
    way.close_now();
  }

  void check_name(Way& way, const std::string& host) {
    if (IpAddress::parse(host)) return;
    const TimePoint start = Clock::now();
    const auto response = run_task<dns::Response>(loop_, [&](Waiter& waiter) {
      return look_up(way, {.name = host, .type = dns::type::kAaaa, .recursion_desired = false},
                     waiter, Clock::now() + kCallTime);
    });
    if (!response) {
      tell("dns", Outcome::Failed, why(response.error()));
      return;
    }
    std::string addresses;
    for (const IpAddress& address : dns::addresses_in(*response)) {
      addresses += (addresses.empty() ? "" : ", ") + address.to_string();
    }
    if (addresses.empty()) {
      // The gateway finds targets by itself: names help other programs.
      tell("dns", Outcome::Without,
           fmt::format("{}: {}", host,
                       response->rcode == 0 ? "no address" : dns::rcode_to_text(response->rcode)));
    } else {
      tell("dns", Outcome::Fine,
           fmt::format("{} is {} ({})", host, addresses, milliseconds(start)));
    }
  }

  void check_target(Way& way, const net::ConnectTarget& target) {
    if (!connect(way, target, true, "target")) return;
    connect(way, target, false, "port");
  }

  bool connect(Way& way, const net::ConnectTarget& target, bool only_wake, const char* name) {
    const TimePoint start = Clock::now();
    std::string progress;
    const auto outcome = run_task<ConnectOutcome>(loop_, [&](Waiter& waiter) {
      return connect_through(way, {.target = target, .only_wake = only_wake, .token = {}}, nullptr,
                             waiter,
                             [&progress](std::string_view line) { progress = std::string(line); });
    });
    if (!outcome) {
      tell(name, Outcome::Failed, failed_line(target, outcome.error()));
      return false;
    }
    if (const auto* refusal = std::get_if<net::ConnectRefusal>(&*outcome)) {
      tell(name, Outcome::Failed, failed_line(target, *refusal));
      return false;
    }
    const std::string remote = std::get<Connected>(*outcome).remote;
    tell(name, Outcome::Fine,
         only_wake ? fmt::format("{} is awake{}, after {}", target.host,
                                 progress.empty() ? "" : " (it slept)", milliseconds(start))
                   : fmt::format("{} takes connections{}, after {}", target.to_string(),
                                 remote.empty() ? "" : " at " + remote, milliseconds(start)));
    return true;
  }

  const DeveloperOptions& options_;
  const Console& console_;
  Loop loop_;
  bool has_failed_ = false;
};

}  // namespace

std::string check_line(const CheckStep& step, bool as_json) {
  if (!as_json) {
    const char* const outcome = step.outcome == Outcome::Fine     ? "ok"
                                : step.outcome == Outcome::Failed ? "FAILED"
                                                                  : "-";
    return fmt::format("{:<7} {:<7} {}", outcome, step.name, harmless(step.text));
  }
  std::string line;
  JsonWriter json(line);
  json.begin_object()
      .field("step", step.name)
      .field("ok", step.outcome == Outcome::Fine)
      .field("needed", step.outcome != Outcome::Without)
      .field("text", step.text)
      .end_object();
  return line;
}

int check_proxy(const DeveloperOptions& options, const std::vector<ProxyMapping>& mappings,
                const Console& console) {
  return Check(options, console).run(mappings);
}

}  // namespace rooster::cli
