// Session affinity ([rooster] affinity): by which machine a request should go; pure.
#pragma once

#include "config/app_config.hpp"
#include "proxy/pick_machine.hpp"
#include "proxy/request_head.hpp"

#include <string>
#include <string_view>

namespace rooster::proxy {

/// The value of the request's cookie of this name; "": none.
std::string_view find_cookie(const RequestHead& head, std::string_view name);

/// Adds what the app's affinity says of this request. What the client asks for by Fly's headers
/// goes before it.
void add_affinity(const config::Affinity& affinity, const RequestHead& head, Steering& steering);

/// The Set-Cookie value that keeps the next requests at `machine`; "": none is needed.
std::string affinity_cookie(const config::Affinity& affinity, const RequestHead& head,
                            std::string_view machine, bool is_https);

}  // namespace rooster::proxy
