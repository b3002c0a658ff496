#include "machines/app_view.hpp"

#include <algorithm>

#include <arpa/inet.h>

namespace rooster::machines {

Endpoint make_endpoint(std::string_view ip, std::uint16_t port) {
  Endpoint endpoint;
  const std::string text(ip);
  auto* v4 = reinterpret_cast<sockaddr_in*>(&endpoint.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&endpoint.storage);
  if (inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    endpoint.length = sizeof(sockaddr_in);
    return endpoint;
  }
  endpoint.storage = {};
  if (inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    endpoint.length = sizeof(sockaddr_in6);
  }
  return endpoint;
}

std::uint16_t MachineView::port_for(const config::Service& service,
                                    std::uint16_t external_port) const {
  const std::uint16_t wanted = service.internal_port != 0 ? service.internal_port : external_port;
  auto found = ports.find(wanted);
  return found != ports.end() ? found->second : wanted;
}

std::size_t AppView::group_of(const config::Service& service) const {
  if (service.processes.empty()) return 0;
  auto found = std::ranges::find(wakes, service.processes.front(), &WakeState::group);
  return found != wakes.end() ? static_cast<std::size_t>(found - wakes.begin()) : 0;
}

bool AppView::carries(const MachineView& machine, const config::Service& service) const {
  if (service.processes.empty()) return machine.group == wakes.front().group;
  return std::ranges::find(service.processes, machine.group) != service.processes.end();
}

}  // namespace rooster::machines
