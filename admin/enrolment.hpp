// Enrolment: what rooster.<domain> answers over HTTPS. Everything needs a token; what has none is
// told nothing.
#pragma once

#include "admin/private_network.hpp"
#include "core/log.hpp"
#include "core/task.hpp"
#include "net/http_message.hpp"
#include "net/http_server.hpp"

#include <string>

namespace rooster::admin {

///   GET  /v1/login                     whose token it is: network, apps, rights, end
///   POST /v1/peers                     a peer: an ephemeral one, or with the right `peers` a
///   static GET  /v1/peers                     the static ones made with this token POST
///   /v1/peers/{name}/{remove|reset}   one of these
class Enrolment {
 public:
  Enrolment(PrivateNetwork& network, Log& log) : network_(network), log_(log) {}

  /// `request.source` says who asks.
  Task<net::HttpReply> handle(const net::HttpRequest& request, Waiter& waiter);

 private:
  Task<cluster::TokenPtr> authorize(const net::HttpRequest& request, Waiter& waiter);
  Task<net::HttpReply> login(cluster::TokenPtr token, Waiter& waiter);
  Task<net::HttpReply> enrol(const net::HttpRequest& request, cluster::TokenPtr token,
                             Waiter& waiter);
  Task<net::HttpReply> list(cluster::TokenPtr token, Waiter& waiter);
  Task<net::HttpReply> change(const net::HttpRequest& request, cluster::TokenPtr token,
                              Waiter& waiter);

  PrivateNetwork& network_;
  Log& log_;
};

/// The token of "Authorization: Bearer <token>"; "" without one.
std::string_view bearer_token(const net::HttpRequest& request);

}  // namespace rooster::admin
