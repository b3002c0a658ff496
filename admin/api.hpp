// Api: the operator's requests, one handler each. Runs on the admin loop; net/http_server carries
// it.
#pragma once

#include "admin/exec_api.hpp"
#include "admin/network_api.hpp"
#include "admin/node.hpp"
#include "admin/private_network.hpp"
#include "core/loop.hpp"
#include "core/task.hpp"
#include "net/http_message.hpp"
#include "net/http_server.hpp"

namespace rooster::admin {

/// Serves these; everything else is 404, another method 405. Replies are JSON unless said
/// otherwise.
///
///   GET  /healthz                      "ok", 503 while draining (text)
///   GET  /metrics                      the Prometheus page (text)
///   GET  /v1/version  /v1/status
///   GET  /v1/apps?after=&most=         GET /v1/apps/{app}
///   GET  /v1/machines?app=             POST /v1/machines/{id}/{start|stop|suspend|cordon|uncordon}
///   GET  /v1/checks?app=
///   GET  /v1/logs?app=&machine=&region=&most=&follow=&format=json    flyctl's lines (text), or
///   JSON lines GET  /v1/explain?url=  |  ?app= GET  /v1/config?app=               the effective
///   configuration POST /v1/reload                    POST /v1/config/check?strict=
/// and what NetworkApi serves, POST /v1/apps/{app}/machines/{machine}/exec (ExecApi), and CONNECT
/// <name>:<port>, which a worker serves.
class Api {
 public:
  /// `network`: null where the node has no private network.
  explicit Api(Node& node, PrivateNetwork* network = nullptr)
      : node_(node), network_api_(node, network) {}

  /// Where a CONNECT goes: the connection, and what is read of it already.
  using Connect = std::function<void(Descriptor connection, std::string input)>;
  /// Unset: there is no exec, no CONNECT.
  void set_exec(ExecApi& exec) { exec_ = &exec; }
  void set_connect(Connect connect) { connect_ = std::move(connect); }

  Task<net::HttpReply> handle(const net::HttpRequest& request, Waiter& waiter);

 private:
  net::HttpReply connect(const net::HttpRequest& request);
  Task<net::HttpReply> status(Waiter& waiter);
  Task<net::HttpReply> health(Waiter& waiter);
  Task<net::HttpReply> apps(const net::HttpRequest& request, Waiter& waiter);
  Task<net::HttpReply> app(std::string name, Waiter& waiter);
  Task<net::HttpReply> machines(const net::HttpRequest& request, Waiter& waiter);
  Task<net::HttpReply> order(MachineCommand command, Waiter& waiter);
  Task<net::HttpReply> checks(const net::HttpRequest& request, Waiter& waiter);
  Task<net::HttpReply> explain(const net::HttpRequest& request, Waiter& waiter);
  Task<net::HttpReply> reload(Waiter& waiter);
  Task<net::HttpReply> check(const net::HttpRequest& request, Waiter& waiter);
  Task<net::HttpReply> post(const net::HttpRequest& request, Waiter& waiter);
  Task<std::vector<AppFacts>> facts_for(const net::HttpRequest& request, Waiter& waiter);
  net::HttpReply config(const net::HttpRequest& request);
  net::HttpReply metrics();
  net::HttpReply logs(const net::HttpRequest& request);

  Node& node_;
  NetworkApi network_api_;
  ExecApi* exec_ = nullptr;
  Connect connect_;
};

}  // namespace rooster::admin
