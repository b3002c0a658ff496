// Listening sockets of the server's own making (admin API, tests); the public ones come from the
// keeper.
#pragma once

#include "core/descriptor.hpp"
#include "core/error.hpp"

#include <cstdint>
#include <string>

namespace rooster::net {

/// A listening unix socket at `path` with the file mode `mode`; a socket file that nobody listens
/// on is replaced. Errors: Internal, with the path and the reason; also when somebody listens
/// there.
Result<Descriptor> listen_unix(const std::string& path, unsigned mode);

/// A listening TCP socket on an IP address; port 0 takes any. Errors: Internal, with the reason.
Result<Descriptor> listen_tcp(const std::string& address, std::uint16_t port);

}  // namespace rooster::net
