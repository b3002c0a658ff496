// NetworkApi: the operator's requests about peers, tokens and addresses. Part of Api: the same
// socket, the same loop.
#pragma once

#include "admin/node.hpp"
#include "admin/private_network.hpp"
#include "core/task.hpp"
#include "net/http_message.hpp"
#include "net/http_server.hpp"

#include <string>
#include <string_view>

namespace rooster::admin {

///   GET  /v1/tokens                    POST /v1/tokens {network, apps, rights, note, ttl_seconds}
///                                      POST /v1/tokens/{id}/revoke
///   GET  /v1/peers?network=            POST /v1/peers  {public_key, name, network, region, ...}
///                                      POST /v1/peers/{name}/{remove|reset}?network=
///   GET  /v1/wireguard                 the gateway, and its peers' sessions
///   GET  /v1/ips?app=                  private addresses of an app and its machines
///   GET  /v1/audit?app=&most=          who executed what
class NetworkApi {
 public:
  /// `network`: null where the node has none.
  NetworkApi(Node& node, PrivateNetwork* network) : node_(node), network_(network) {}

  static bool serves(std::string_view path);
  /// Only what it serves.
  Task<net::HttpReply> handle(const net::HttpRequest& request, Waiter& waiter);

 private:
  Task<net::HttpReply> get(const net::HttpRequest& request, Waiter& waiter);
  Task<net::HttpReply> post(const net::HttpRequest& request, Waiter& waiter);
  Task<net::HttpReply> tokens(Waiter& waiter);
  Task<net::HttpReply> create_token(const net::HttpRequest& request, Waiter& waiter);
  Task<net::HttpReply> revoke_token(std::string id, Waiter& waiter);
  Task<net::HttpReply> peers(const net::HttpRequest& request, Waiter& waiter);
  Task<net::HttpReply> create_peer(const net::HttpRequest& request, Waiter& waiter);
  Task<net::HttpReply> change_peer(const net::HttpRequest& request, std::string name,
                                   std::string_view order, Waiter& waiter);
  Task<net::HttpReply> wireguard(Waiter& waiter);
  Task<net::HttpReply> ips(const net::HttpRequest& request, Waiter& waiter);
  net::HttpReply audit(const net::HttpRequest& request);

  Node& node_;
  PrivateNetwork* network_;
};

}  // namespace rooster::admin
