// What upstream may not say: addresses inside the private networks, or, for the gateway's own name,
// in any private range. Such an answer would lead a browser's page to machines (DNS rebinding).
#pragma once

#include "core/address.hpp"
#include "dns/response.hpp"

#include <string_view>

namespace rooster::dns {

/// Loopback, link-local, RFC 1918, RFC 6598, unique local, unspecified.
bool is_in_private_range(const IpAddress& address);

/// Takes such records out of all sections, address hints of SVCB and HTTPS included. `gateway`: the
/// node's public name in wire form; empty: none.
void remove_private_addresses(Response& response, std::string_view gateway);

}  // namespace rooster::dns
