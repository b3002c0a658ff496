// GatewayClient: calls to rooster.<domain> over verified TLS, with a login's token.
#pragma once

#include "cli/login.hpp"
#include "core/loop.hpp"
#include "core/task.hpp"
#include "net/resolver.hpp"
#include "net/secure.hpp"

#include <boost/json/value.hpp>

#include <string>
#include <string_view>

namespace rooster::cli {

class GatewayClient {
 public:
  /// Errors: Internal, where TLS can't be set up.
  static Result<GatewayClient> create(Loop& loop, Login login);

  /// One request on a connection of its own. Errors: a sentence with what to do next in `detail`:
  /// nobody answers, it is not the node that was meant, or what the node said.
  Task<boost::json::value> call(std::string method, std::string target, std::string body,
                                Waiter& waiter, TimePoint deadline);
  /// The same, turning the loop until it is done (at most half a minute).
  Result<boost::json::value> call_now(std::string method, std::string target,
                                      std::string body = {});

  const Login& login() const { return login_; }
  const net::ClientTls& tls() const { return tls_; }

 private:
  GatewayClient(Loop& loop, Login login, net::ClientTls tls);
  Task<std::unique_ptr<Stream>> connect(Waiter& waiter, TimePoint deadline);

  Loop* loop_;
  Login login_;
  net::ClientTls tls_;
};

}  // namespace rooster::cli
