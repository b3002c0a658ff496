// PrivateApi: what [fdaa:<net>::3]:4280 answers beside CONNECT, which the workers serve. Only to
// WireGuard peers, each about the apps that it may reach.
#pragma once

#include "admin/exec_api.hpp"
#include "admin/node.hpp"
#include "admin/private_network.hpp"
#include "net/http_server.hpp"

#include <string>

namespace rooster::admin {

///   GET  /v1/status                                 version, region, and when it was started
///   GET  /v1/apps/{app}                             its machines
///   POST /v1/apps/{app}/machines/{machine}/exec     Upgrade: rooster-exec/1, with a token
class PrivateApi {
 public:
  PrivateApi(Node& node, ExecApi& exec, PrivateNetwork& network)
      : node_(node), exec_(exec), network_(network) {}

  /// `request.source` says who asks; without one everything is refused.
  Task<net::HttpReply> handle(const net::HttpRequest& request, Waiter& waiter);

 private:
  Task<net::HttpReply> status(const net::HttpRequest& request, Waiter& waiter);
  Task<net::HttpReply> app(const net::HttpRequest& request, std::string name, Waiter& waiter);

  Node& node_;
  ExecApi& exec_;
  PrivateNetwork& network_;
};

}  // namespace rooster::admin
