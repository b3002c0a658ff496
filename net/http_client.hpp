// HttpClient: the command line's blocking client of the admin API.
#pragma once

#include "core/error.hpp"
#include "net/http_message.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace rooster::net {

/// Where a node's admin API is: "unix:/run/rooster/admin.sock", a path, "http://127.0.0.1:9000" or
/// "127.0.0.1:9000".
struct HttpAddress {
  std::string unix_path;  ///< "": TCP
  std::string host;
  std::uint16_t port = 80;

  static std::optional<HttpAddress> parse(std::string_view text);
  std::string to_string() const;
};

class HttpClient {
 public:
  /// `timeout` bounds the connect, and then each silence.
  explicit HttpClient(HttpAddress address,
                      std::chrono::milliseconds timeout = std::chrono::seconds(30))
      : address_(std::move(address)), timeout_(timeout) {}

  /// One request on a connection of its own; the whole response.
  /// Errors: UpstreamRefused, UpstreamTimeout, UpstreamBadResponse..., their detail a sentence for
  /// the operator.
  Result<HttpResponse> send(const HttpRequest& request) const;

  /// Calls `line` with each line of a 2xx body as it comes (without its newline) until it returns
  /// false or the body ends; silence is no error then. Another status gives the whole response and
  /// no line.
  Result<HttpResponse> stream(const HttpRequest& request,
                              const std::function<bool(std::string_view line)>& line) const;

 private:
  Result<HttpResponse> talk(const HttpRequest& request,
                            const std::function<bool(std::string_view line)>* line) const;

  HttpAddress address_;
  std::chrono::milliseconds timeout_;
};

}  // namespace rooster::net
