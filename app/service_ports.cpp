#include "app/service_ports.hpp"

#include "app/listeners.hpp"
#include "config/parse_node.hpp"
#include "config/public_ports.hpp"
#include "core/limits.hpp"

#include <algorithm>
#include <chrono>
#include <utility>
#include <variant>

namespace rooster::app {

namespace {

constexpr auto kRetry = std::chrono::seconds(5);
constexpr const char* kName = "service";  // the keeper's word for these sockets

std::string to_text(const std::string& host, std::uint16_t port) {
  return config::to_text({.host = host.empty() ? "*" : host, .port = port});
}

}  // namespace

ServicePorts::ServicePorts(Parts parts)
    : parts_(parts), retry_(parts.loop, [this] { ask_for_missing(); }) {}

void ServicePorts::plan(const config::ConfigSet& config) {
  std::set<std::string> hosts;
  for (const auto& address : config.node.fixed.http) hosts.insert(address.host);
  for (const auto& address : config.node.fixed.https) hosts.insert(address.host);
  if (hosts.contains("")) hosts = {""};
  config::PublicPorts ports = config::public_tcp_ports(config);
  std::map<Place, Wanted> wanted;
  for (const std::string& host : hosts) {
    for (const config::PublicPort& port : ports.ports) {
      const Place place{host, port.port};
      Wanted entry{.app = port.app, .of_range = port.of_range};
      if (const auto before = wanted_.find(place); before != wanted_.end()) {
        entry.was_told = before->second.was_told;
      }
      wanted.emplace(place, std::move(entry));
    }
  }
  wanted_ = std::move(wanted);
  if (ports.left_out != 0 && ports.left_out != left_out_) {
    parts_.log.warn("more public ports than are listened on; write narrower ranges",
                    {{"left_out", ports.left_out}, {"most", limits::kMaxServicePorts}});
  }
  left_out_ = ports.left_out;
}

// A range may be wide: its ports have one socket each, and the workers share them out.
keeper::Listen ServicePorts::request_for(const Place& place, const Wanted& wanted) const {
  const auto workers = static_cast<std::uint16_t>(parts_.workers.size());
  return {.name = kName,
          .host = place.first,
          .port = place.second,
          .count = wanted.of_range ? std::uint16_t{1} : workers};
}

void ServicePorts::open(const config::ConfigSet& config) {
  plan(config);
  for (const auto& [place, wanted] : std::map(wanted_)) {
    take(place, parts_.keeper.call(request_for(place, wanted)));
  }
}

void ServicePorts::adopt(const config::ConfigSet& config) {
  plan(config);
  for (const Place& place : std::set(bound_)) {
    if (!wanted_.contains(place)) drop(place);
  }
  ask_for_missing();
}

void ServicePorts::ask_for_missing() {
  if (is_released_) return;
  for (const auto& [wanted_place, wanted] : wanted_) {
    const Place place = wanted_place;
    if (bound_.contains(place) || !asked_.insert(place).second) continue;
    parts_.keeper.request(request_for(place, wanted), [this, place](keeper::Reply reply) {
      asked_.erase(place);
      take(place, std::move(reply));
    });
  }
}

void ServicePorts::take(const Place& place, keeper::Reply reply) {
  const auto wanted = wanted_.find(place);
  if (auto* listening = std::get_if<keeper::Listening>(&reply)) {
    if (bound_.insert(place).second) hand_out(place, *listening);
    if (wanted == wanted_.end() || is_released_) {
      drop(place);
    } else if (wanted->second.was_told) {
      wanted->second.was_told = false;
      parts_.log.info("listening", {{"on", "tcp " + to_text(place.first, place.second)}});
    }
    return;
  }
  if (wanted == wanted_.end() || is_released_) return;
  const auto* failed = std::get_if<keeper::Failed>(&reply);
  if (!std::exchange(wanted->second.was_told, true)) {
    parts_.log.warn(
        "can't listen on a service's port; free it or change the service: it is tried "
        "again",
        {{"on", "tcp " + to_text(place.first, place.second)},
         {"app", wanted->second.app},
         {"reason", failed != nullptr ? failed->text : "no answer"}});
  }
  retry_.set(Clock::now() + kRetry);
}

void ServicePorts::hand_out(const Place& place, keeper::Listening& listening) {
  std::size_t next = listening.sockets.size() == 1 ? place.second : 0;
  for (Descriptor& socket : listening.sockets) {
    parts_.workers[next++ % parts_.workers.size()]->listen(
        {.fd = std::move(socket),
         .options = {
             .external_port = place.second, .local_port = place.second, .is_service = true}});
  }
}

void ServicePorts::drop(const Place& place) {
  bound_.erase(place);
  parts_.keeper.request(keeper::Unlisten{.name = kName, .host = place.first, .port = place.second},
                        [](const keeper::Reply&) {});
  for (auto& worker : parts_.workers) worker->unlisten(place.second);
}

void ServicePorts::release() {
  is_released_ = true;
  retry_.cancel();
  for (const Place& place : std::exchange(bound_, {})) {
    parts_.keeper.request(
        keeper::Unlisten{.name = kName, .host = place.first, .port = place.second},
        [](const keeper::Reply&) {});
  }
}

bool ServicePorts::is_own(const Endpoint& to) const {
  return std::ranges::any_of(bound_, [&to](const Place& place) {
    return place.second == to.port && is_reached_by(place.first, to.address);
  });
}

std::vector<std::string> ServicePorts::texts() const {
  std::vector<std::string> texts;
  for (const Place& place : bound_) texts.push_back("tcp " + to_text(place.first, place.second));
  return texts;
}

}  // namespace rooster::app
