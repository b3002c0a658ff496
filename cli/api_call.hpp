// Calls of the private API over a Way: CONNECT with its progress, and ordinary requests.
#pragma once

#include "cli/way.hpp"
#include "net/connect_call.hpp"
#include "net/http_message.hpp"

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

namespace rooster::cli {

/// A CONNECT that was answered with 200.
struct Connected {
  std::unique_ptr<Stream> stream;
  std::string first_bytes;  ///< of the other side, read already
  std::string remote;
};
/// The other side, or the node's no.
using ConnectOutcome = std::variant<Connected, net::ConnectRefusal>;

/// Makes the call and waits for its end, at most as long as the node says something now and then.
/// `local`, if there is one, is who waits: when it leaves, so do we (ClientLeft). Errors: the
/// way's; ClientLeft; UpstreamTimeout; UpstreamReset.
Task<ConnectOutcome> connect_through(Way& way, net::ConnectCall call, Stream* local, Waiter& waiter,
                                     std::function<void(std::string_view line)> progress);

/// One request to the private API, answered whole. Errors: the way's, net::fetch's.
Task<net::HttpResponse> ask_api(Way& way, net::HttpRequest request, Waiter& waiter,
                                TimePoint deadline);

}  // namespace rooster::cli
