#include "proxy/gateway_door.hpp"

#include "proxy/host_name.hpp"
#include "proxy/request_head.hpp"

#include <array>

namespace rooster::proxy {

bool is_for_gateway(const RequestHead& head, std::string_view gateway_host) {
  if (gateway_host.empty() || !head.has_host || head.host_name.size() != gateway_host.size()) {
    return false;
  }
  std::array<char, 256> lower;
  return lower_host(head.host_name, lower) == gateway_host;
}

}  // namespace rooster::proxy
