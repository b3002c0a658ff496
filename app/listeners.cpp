#include "app/listeners.hpp"

#include <algorithm>
#include <utility>
#include <variant>

#include <sys/socket.h>

namespace rooster::app {

Result<> Listeners::bind(const config::NodeConfig& node) {
  for (const auto& address : node.fixed.http) {
    if (auto bound = bind_one("http", address, 80, node.file); !bound) return bound;
  }
  for (const auto& address : node.fixed.https) {
    if (auto bound = bind_one("https", address, 443, node.file); !bound) return bound;
  }
  return {};
}

Result<> Listeners::bind_one(const std::string& kind, const config::ListenAddress& address,
                             std::uint16_t external_port, const std::string& file) {
  keeper::Reply reply = keeper_.call(keeper::Listen{.name = kind,
                                                    .host = address.host,
                                                    .port = address.port,
                                                    .count = static_cast<std::uint16_t>(workers_)});
  const std::string where = (address.host.empty() ? "*" : address.host) + ":";
  if (auto* failed = std::get_if<keeper::Failed>(&reply)) {
    return fail(Fault::Internal, "can't listen on " + where + std::to_string(address.port) + ": " +
                                     failed->text + "; free the port or change [listen] " + kind +
                                     " in " + file);
  }
  auto& listening = std::get<keeper::Listening>(reply);
  bound_.push_back({.text = kind + " " + where + std::to_string(listening.port),
                    .address = address,
                    .options = {.tls = kind == "https",
                                .external_port = external_port,
                                .local_port = listening.port},
                    .sockets = std::move(listening.sockets)});
  return {};
}

std::vector<std::vector<ListenSocket>> Listeners::take_sockets() {
  std::vector<std::vector<ListenSocket>> sockets(workers_);
  for (Bound& bound : bound_) {
    for (std::size_t i = 0; i < bound.sockets.size(); ++i) {
      sockets[i % workers_].push_back({std::move(bound.sockets[i]), bound.options});
    }
    bound.sockets.clear();
  }
  return sockets;
}

void Listeners::release() {
  for (const Bound& bound : bound_) {
    keeper_.request(keeper::Unlisten{.name = bound.options.tls ? "https" : "http",
                                     .host = bound.address.host,
                                     .port = bound.address.port},
                    [](const keeper::Reply&) {});
  }
}

// What can be bound to is an address of this host.
bool is_reached_by(const std::string& host, const IpAddress& to) {
  const auto own = IpAddress::parse(host);
  const bool is_any = !own || *own == IpAddress() || *own == IpAddress::v4(0);
  if (!is_any) return *own == to;
  sockaddr_storage address{};
  const socklen_t size = Endpoint{to, 0}.to(address);
  const Descriptor probe(::socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  return probe && ::bind(probe.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0;
}

bool Listeners::is_own(const Endpoint& to) const {
  return std::ranges::any_of(bound_, [&to](const Bound& bound) {
    return bound.options.local_port == to.port && is_reached_by(bound.address.host, to.address);
  });
}

std::vector<std::string> Listeners::texts() const {
  std::vector<std::string> texts;
  for (const Bound& bound : bound_) texts.push_back(bound.text);
  return texts;
}

std::uint16_t Listeners::https_port() const {
  for (const Bound& bound : bound_) {
    if (bound.options.tls) return bound.options.local_port;
  }
  return 443;
}

}  // namespace rooster::app
