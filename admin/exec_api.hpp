// ExecApi: POST /v1/apps/{app}/machines/{machine}/exec, by the admin socket or from a peer with a
// token. The flow: who may -> 101 -> wake and start (ExecHost) -> frames (ExecSession) -> ledger.
#pragma once

#include "admin/exec_host.hpp"
#include "admin/exec_session.hpp"
#include "admin/node.hpp"
#include "admin/private_network.hpp"
#include "cluster/records.hpp"
#include "core/log.hpp"
#include "net/http_message.hpp"
#include "net/http_server.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace rooster::admin {

/// The two names in an exec's path; nullopt: another path.
struct ExecPath {
  std::string app;
  std::string machine;
  static std::optional<ExecPath> parse(std::string_view path);
};

/// The request's JSON. Errors: BadRequest, with a sentence.
Result<ExecSpec> parse_exec(const ExecPath& path, std::string_view body);

/// Who calls, once it is known that he may. Empty: an operator.
struct ExecCaller {
  std::string token;  ///< its id
  std::string peer;   ///< its name
};

/// Is a request to the private API one that a web page can't have made? Errors: NotAllowed.
Result<> refuse_web_pages(const net::HttpRequest& request);
/// The peer whose source address the request has. Errors: NotAllowed, where it is none (a machine).
Task<cluster::PeerPtr> find_caller(PrivateNetwork& network, const net::HttpRequest& request,
                                   Waiter& waiter);

/// {"error": sentence} with the fault's status.
net::HttpReply refusal_of(const Error& error);

class ExecApi {
 public:
  /// `network`: null where the node has none; then only operators come.
  ExecApi(Node& node, ExecHost& host, PrivateNetwork* network, Log& log)
      : node_(node), host_(host), network_(network), log_(log) {}

  /// By the admin socket.
  Task<net::HttpReply> as_operator(const net::HttpRequest& request, ExecPath path, Waiter& waiter);
  /// From a private address: a peer's, with that peer's token and the right to exec in the app.
  Task<net::HttpReply> as_peer(const net::HttpRequest& request, ExecPath path, Waiter& waiter);

 private:
  Task<ExecCaller> authorize(const net::HttpRequest& request, const AppFacts& app, Waiter& waiter);
  net::HttpReply accept(ExecSpec spec, ExecCaller caller);
  Task<> serve(ExecSpec spec, ExecCaller caller, Stream& client, std::string input, Waiter& waiter);
  void write_ledger(cluster::AuditEntry entry);

  Node& node_;
  ExecHost& host_;
  PrivateNetwork* network_;
  Log& log_;
};

}  // namespace rooster::admin
