// NetworkCall: requests about peers, to the admin socket or, by a login's token, to the gateway.
#pragma once

#include "cli/gateway_client.hpp"
#include "cli/node_client.hpp"
#include "core/error.hpp"
#include "core/loop.hpp"

#include <boost/json/value.hpp>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace rooster::cli {

class NetworkCall {
 public:
  /// The admin socket where -c or $ROOSTER_ADMIN names one, else the login for `network`, else the
  /// default admin socket. Errors: a sentence with what to do.
  static Result<NetworkCall> choose(const std::string& config_file, const std::string& network);

  bool by_login() const { return gateway_ != nullptr; }
  Result<boost::json::value> get(std::string_view path, const QueryArguments& query = {});
  Result<boost::json::value> post(std::string_view path, const QueryArguments& query = {},
                                  std::string body = {});

 private:
  NetworkCall() = default;
  std::optional<NodeClient> node_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<GatewayClient> gateway_;
};

}  // namespace rooster::cli
