// AdminSide: all that operators and developers call, on the background thread: the admin socket,
// enrolment at rooster.<domain>, and the private API in the networks.
#pragma once

#include "admin/api.hpp"
#include "admin/enrolment.hpp"
#include "admin/exec_api.hpp"
#include "admin/private_api.hpp"
#include "app/admin_network.hpp"
#include "app/admin_node.hpp"
#include "app/exec_host.hpp"
#include "core/address.hpp"
#include "core/log.hpp"
#include "core/stream.hpp"
#include "net/http_server.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace rooster::app {

class AdminSide {
 public:
  struct Parts {
    AdminNode::Parts node;
    ExecHost::Parts exec;
    Log& log;
    std::unique_ptr<AdminNetwork> network{};  ///< null without [wireguard]
    /// An operator's CONNECT, with what was read of it.
    std::function<void(Descriptor, std::string input)> connect{};
  };
  /// On control's thread, once the background thread runs.
  explicit AdminSide(Parts parts);
  AdminSide(const AdminSide&) = delete;
  AdminSide& operator=(const AdminSide&) = delete;

  /// On control's thread: a command in a machine has ended.
  void on_exec_exited(const keeper::ExecExited& exited) { exec_host_.on_exited(exited); }

  /// Opens the admin socket. Errors: Internal, where it can't be bound.
  Result<> start(const std::string& admin_socket);
  /// On control's thread, before its loop ends: commands in machines end.
  void stop_exec() { exec_host_.stop(); }
  /// On the background thread: no further call; `done` once the last is over.
  void stop(std::function<void()> done);

  // The background thread's.
  AdminNode& node() { return node_; }
  /// A call of enrolment that came to the edge.
  void adopt_enrolment(Stream::Parts connection, std::string input, const IpAddress& source);
  /// A call of the private API that came from `source`.
  void adopt_private_call(Descriptor connection, std::string input, const IpAddress& source);
  /// The peer with this address is revoked: its calls end.
  void end_calls(const IpAddress& peer);

 private:
  std::unique_ptr<net::HttpServer> serve_calls(net::HttpServer::Handler handler);

  // The servers are made, used and stopped on the background thread.
  Loop& background_;
  AdminNode node_;
  const std::unique_ptr<AdminNetwork> network_;
  ExecHost exec_host_;
  admin::ExecApi exec_api_;
  admin::Api api_;
  std::optional<admin::Enrolment> enrolment_;
  std::optional<admin::PrivateApi> private_api_;
  std::unique_ptr<net::HttpServer> admin_server_;
  std::unique_ptr<net::HttpServer> enrolment_server_;
  std::unique_ptr<net::HttpServer> private_api_server_;
};

}  // namespace rooster::app
