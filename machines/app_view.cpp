#include "machines/app_view.hpp"

#include <algorithm>

namespace rooster::machines {

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
