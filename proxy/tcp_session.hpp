// TcpSession: one raw TCP connection from a client, public or private, to a machine, waking it
// first. Raw, or as the call of `rooster proxy` (net/connect_call.hpp), which is told what happens
// meanwhile.
#pragma once

#include "core/stream.hpp"
#include "core/task.hpp"
#include "proxy/access_log.hpp"
#include "proxy/machine_claim.hpp"
#include "proxy/private_table.hpp"
#include "proxy/proxy_protocol.hpp"
#include "proxy/request_id.hpp"
#include "proxy/tunnel.hpp"
#include "proxy/upstream_pool.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace rooster::proxy {

struct WorkerContext;

/// A client's connection; what it refers to outlives the session.
struct TcpClient {
  Stream& stream;
  Waiter& waiter;
  const PrivateSource* source = nullptr;  ///< null: of the internet
  Endpoints ends{};                       ///< of its connection, as the app may be told
  std::string_view name = {};             ///< of the internet: its TLS name, for the log
  TlsVersion tls = TlsVersion::None;
  std::string_view asked = {};  ///< what it wanted, for the log: "db.internal:5432"
  std::string_view input = {};  ///< read already, for the app
  bool is_call = false;         ///< it asked by CONNECT, and is answered
  bool only_wake = false;       ///< of a call: nothing is dialled
  bool is_postgres = false;     ///< it is told of a failure in PostgreSQL's words
};

class TcpSession final : private Claimant {
 public:
  /// `target` is Service (of the internet: through an exposed port), Machines or Refused.
  TcpSession(WorkerContext& context, const TcpClient& client, PrivateTarget target);
  ~TcpSession();

  /// Serves it to its end. Never fails: an error is told (a call) or leaves the connection to be
  /// reset by its close, and is logged and counted.
  Task<> run();
  /// Raw bytes were passed: nothing further is to be said to the client.
  bool was_connected() const { return connected_at_ != TimePoint{}; }

 private:
  Task<> claim();
  Task<> wait_for_one();
  Task<> claim_undeclared();
  Task<> connect();
  Task<> relay();
  bool tell_connected();
  void refuse(const Error& error);
  void record();

  Result<> find_route() override;
  machines::WakeAttempt wake_attempt() const override {
    return {.source = client_.ends.from.address, .machine = wanted_};
  }
  Steering steering() const override;
  std::size_t held_bytes() const override { return client_.input.size(); }
  bool may_wait() override;
  void park() override {}
  void unpark() override;
  Interest departure() override { return {&client_.stream.pollable(), Pollable::kBroken}; }
  bool has_left() const override { return client_.stream.pollable().is(Pollable::kBroken); }
  TimePoint still_waiting(const machines::AppView& view) override;

  bool matches(const machines::MachineView& machine) const;
  const config::Service* find_service(const machines::AppView& view) const;
  std::string proxy_header() const;
  bool is_beside_others() const;

  WorkerContext& context_;
  const TcpClient client_;
  const PrivateTarget target_;
  const TimePoint started_;
  const WallTime wall_;
  const RequestId id_;
  MachineClaim claim_;
  const config::Service* service_ = nullptr;  // null: a port of none
  UpstreamConnectionPtr upstream_;
  TunnelEnd end_;
  TimePoint connected_at_{};
  Fault fault_ = Fault::None;
  std::string wanted_;  // the machine to be woken; "": any
  std::string told_;    // the last line of progress
  bool is_waiting_ = false;
};

}  // namespace rooster::proxy
