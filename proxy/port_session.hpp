// PortSession: a public connection of which the first bytes decide what serves it: a PROXY header
// from a load balancer, then TLS by its name, PostgreSQL's request, or the clear.
#pragma once

#include "core/stream.hpp"
#include "core/task.hpp"
#include "proxy/listener.hpp"
#include "proxy/port_plans.hpp"
#include "proxy/proxy_protocol.hpp"
#include "proxy/sides.hpp"
#include "tls/server_context.hpp"

#include <memory>
#include <optional>
#include <string>

namespace rooster::proxy {

struct WorkerContext;

/// What TLS on a port without HTTP agrees on: its tls_options' protocols, PostgreSQL's on pg_tls,
/// else none.
tls::TlsProfile raw_profile(const config::Port& port);

class PortSession {
 public:
  /// `facts` are what the listener knows; the session gives back what they count. `remote`: who
  /// connected. It is in the budget's clients already.
  PortSession(WorkerContext& context, SourceLimit& sources, Descriptor fd, const ClientFacts& facts,
              const Listener::Options& options, const Endpoint& remote);
  ~PortSession();
  PortSession(const PortSession&) = delete;
  PortSession& operator=(const PortSession&) = delete;

  /// Must a connection that came to a port of this plan be looked at?
  static bool is_needed(const PortPlan& plan, const Listener::Options& options);
  /// Serves the connection to its end. `self` is this session: the coroutine owns it.
  static Task<> run(std::unique_ptr<PortSession> self);

 private:
  enum class How : std::uint8_t { Http, Https, Tls, Postgres, Raw, Nobody };
  struct Choice {
    How how = How::Nobody;
    AppId app{};  ///< of Tls, Postgres and Raw
    bool is_known = false;
  };
  Task<> take_proxy_header();
  Task<Choice> choose();
  std::optional<Choice> without_a_look(const PortPlan& plan) const;
  Choice by_name(const PortPlan& plan) const;
  Choice in_the_clear(const PortPlan& plan, bool is_postgres) const;
  Choice of_app(AppId app) const;
  Task<> enter_postgres();
  Task<> secure(const Choice& choice);
  Task<> run_tcp(const Choice& choice, Fault refused_by);
  void run_http(bool tls);
  Task<> refuse(Fault fault);

  WorkerContext& context_;
  SourceLimit& sources_;
  Stream stream_;
  Waiter waiter_;
  ClientFacts facts_;
  const Listener::Options options_;
  Endpoints ends_;
  const TimePoint deadline_;  // by then it is known what serves it, and TLS stands
  std::string sni_;
  bool is_handed_over_ = false;
  bool is_postgres_ = false;
};

}  // namespace rooster::proxy
