#include "cli/network_call.hpp"

#include <cstdlib>

namespace rooster::cli {

Result<NetworkCall> NetworkCall::choose(const std::string& config_file,
                                        const std::string& network) {
  NetworkCall call;
  const char* const environment = std::getenv("ROOSTER_ADMIN");
  const bool is_named = !config_file.empty() || (environment != nullptr && *environment != '\0');
  if (!is_named) {
    if (auto login = find_login(network)) {
      call.loop_ = std::make_unique<Loop>();
      auto gateway = GatewayClient::create(*call.loop_, std::move(*login));
      if (!gateway) return fail(gateway.error());
      call.gateway_ = std::make_unique<GatewayClient>(std::move(*gateway));
      return call;
    }
  }
  const auto admin = find_admin(config_file, environment);
  if (!admin) return fail(admin.error());
  call.node_.emplace(*admin);
  return call;
}

Result<boost::json::value> NetworkCall::get(std::string_view path, const QueryArguments& query) {
  if (node_) return node_->get(path, query);
  return gateway_->call_now("GET", with_query(path, query));
}

Result<boost::json::value> NetworkCall::post(std::string_view path, const QueryArguments& query,
                                             std::string body) {
  if (node_) return node_->post(path, query, std::move(body));
  return gateway_->call_now("POST", with_query(path, query), std::move(body));
}

}  // namespace rooster::cli
