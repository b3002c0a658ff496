// What gRPC asks of a proxy: its deadline, and our own errors in its form
// (github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).
#pragma once

#include "core/fault.hpp"
#include "core/time.hpp"
#include "proxy/request_head.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace rooster::proxy {

/// The content type of a request of gRPC or gRPC-Web; "" for any other request.
std::string_view grpc_type(const RequestHead& head);

/// How long the client waits for the whole call: `grpc-timeout`. nullopt: none, malformed, or too
/// long to matter.
std::optional<Duration> grpc_timeout(const RequestHead& head);

/// The call's status for an error of ours. `too_late`: its deadline has passed.
int grpc_status(Fault fault, bool too_late);

/// Percent-encodes what may not stand in `grpc-message`.
std::string grpc_message(std::string_view text);

}  // namespace rooster::proxy
