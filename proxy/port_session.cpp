// The flow of a connection whose first bytes decide:
//   1. take_proxy_header()  where the client's range must send one: whose connection it really is
//   2. choose()             which app, and how: by the plan of the port, the TLS name, or the clear
//   3. enter_postgres()     SSLRequest and its kin, before TLS
//   4. secure()             TLS with the port's own options, where it ends here
//   5. run_tcp() or run_http()
// Until 4 is done nothing is taken of what the app will get, and nothing of it takes longer than a
// handshake may.
#include "proxy/port_session.hpp"

#include "config/hostname.hpp"
#include "proxy/client_hello.hpp"
#include "proxy/linger.hpp"
#include "proxy/peek.hpp"
#include "proxy/pg_door.hpp"
#include "proxy/tcp_session.hpp"
#include "proxy/worker_context.hpp"
#include "tls/accept.hpp"

#include <openssl/ssl.h>

#include <algorithm>
#include <utility>

#include <netinet/in.h>
#include <sys/socket.h>

namespace rooster::proxy {

namespace {

constexpr char kTlsHandshake = 22;  // RFC 8446 §5.1

Endpoint local_end(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
  return Endpoint::from(address);
}

}  // namespace

tls::TlsProfile raw_profile(const config::Port& port) {
  tls::TlsProfile profile;
  profile.alpn.clear();
  if (port.has(config::Handler::PgTls)) profile.alpn = {"postgresql"};
  if (!port.tls_options) return profile;
  profile = tls::TlsProfile::from({.alpn = {}, .versions = port.tls_options->versions}, profile);
  if (!port.tls_options->alpn.empty()) profile.alpn = port.tls_options->alpn;
  return profile;
}

PortSession::PortSession(WorkerContext& context, SourceLimit& sources, Descriptor fd,
                         const ClientFacts& facts, const Listener::Options& options,
                         const Endpoint& remote)
    : context_(context),
      sources_(sources),
      stream_(context.loop, std::move(fd),
              context.draining ? Pollable::kReadable | Pollable::kWritable : Pollable::kWritable),
      waiter_(context.sessions),
      facts_(facts),
      options_(options),
      ends_{remote, local_end(stream_.fd())},
      deadline_(context.loop.now() + limits::kHandshakeTimeout) {
  context_.metrics.connections_accepted.add();
}

PortSession::~PortSession() {
  context_.metrics.connections_closed.add();
  if (is_handed_over_) return;
  context_.budget.clients.fetch_sub(1, std::memory_order_relaxed);
  if (facts_.source_limit != nullptr) facts_.source_limit->leave(facts_.peer_address);
}

bool PortSession::is_needed(const PortPlan& plan, const Listener::Options& options) {
  if (plan.others() > 0) return true;
  if (!options.is_service) return false;
  // Both kinds of HTTP on one port: TLS or not, the first byte says.
  return plan.count(PortKind::Http) > 0 && plan.count(PortKind::TlsHttp) > 0;
}

Task<> PortSession::run(std::unique_ptr<PortSession> self) {
  PortSession& session = *self;
  if (session.context_.settings->proxy_protocol_from.contains(session.ends_.from.address)) {
    auto taken = co_await session.take_proxy_header();
    if (!taken) co_return co_await session.refuse(taken.error().fault);
  }
  auto chosen = co_await session.choose();
  if (!chosen) co_return co_await session.refuse(chosen.error().fault);
  switch (chosen->how) {
    case How::Http:
    case How::Https:
      session.run_http(chosen->how == How::Https);
      co_return {};
    case How::Nobody:
      co_return co_await session.refuse(Fault::NoRoute);
    case How::Tls:
    case How::Postgres: {
      auto secured = co_await session.secure(*chosen);
      if (!secured) co_return {};
      break;
    }
    case How::Raw:
      break;
  }
  co_return co_await session.run_tcp(*chosen, chosen->is_known ? Fault::None : Fault::NoRoute);
}

// ---- 1

Task<> PortSession::take_proxy_header() {
  while (true) {
    const std::string_view bytes = peek(stream_, context_.scratch.in_span().first(kMaxProxyHeader));
    const ProxyHeader header = parse_proxy_header(bytes);
    if (header.status == ProxyHeader::Status::Invalid) co_return Error(Fault::BadProxyHeader);
    if (header.status == ProxyHeader::Status::NeedMore) {
      auto more = co_await wait_for_more(
          stream_, waiter_,
          std::min(deadline_, deadline_ - limits::kHandshakeTimeout + limits::kProxyHeaderTimeout));
      if (!more && more.error().fault == Fault::HeadTimeout) {
        co_return Error(Fault::BadProxyHeader);
      }
      if (!more) co_return more.error();
      continue;
    }
    if (!skip(stream_, context_.scratch.in_span(), header.bytes)) {
      co_return Error(Fault::ClientLeft);
    }
    if (header.ends) ends_ = *header.ends;
    break;
  }
  facts_.peer_address = ends_.from.address;
  facts_.trusted = context_.settings->trusted_proxies.contains(facts_.peer_address);
  if (facts_.trusted || facts_.peer_address.is_loopback()) co_return {};
  if (!sources_.enter(facts_.peer_address)) {
    context_.metrics.connections_refused.add();
    co_return Error(Fault::ClientLeft);
  }
  facts_.source_limit = &sources_;
  co_return {};
}

// ---- 2

Task<PortSession::Choice> PortSession::choose() {
  while (true) {
    const PortPlan plan = context_.router.plan(options_.external_port);
    if (const auto choice = without_a_look(plan)) co_return *choice;
    const std::string_view bytes = peek(stream_, context_.scratch.in_span().first(kMaxHelloBytes));
    if (!bytes.empty() && bytes[0] == kTlsHandshake) {
      HelloPeek hello = peek_client_hello(bytes);
      if (hello.status == HelloPeek::Status::Complete) {
        sni_ = std::move(hello.sni);
        co_return by_name(plan);
      }
      // What makes no sense is left to the TLS of whoever is the only one here.
      if (hello.status == HelloPeek::Status::NotTls) co_return in_the_clear(plan, false);
    } else if (!bytes.empty()) {
      const bool is_postgres = bytes[0] == '\0' && plan.count(PortKind::PgTls) > 0;
      if (is_postgres && !is_postgres_) {
        auto entered = co_await enter_postgres();
        if (!entered) co_return entered.error();
        continue;
      }
      co_return in_the_clear(plan, is_postgres);
    }
    auto more = co_await wait_for_more(stream_, waiter_, deadline_);
    if (!more) co_return more.error();
  }
}

Task<> PortSession::enter_postgres() {
  is_postgres_ = true;
  co_return co_await enter_pg_door(context_, stream_, waiter_, deadline_);
}

// Who is alone on a port gets its bytes unseen: its protocol may let the server speak first.
std::optional<PortSession::Choice> PortSession::without_a_look(const PortPlan& plan) const {
  const bool is_shared = !options_.is_service && !context_.settings->gateway_host.empty();
  const auto only = plan.only();
  if (only && plan.count(PortKind::Raw) == 1 && !is_shared) return of_app(*only);
  if (is_needed(plan, options_)) return std::nullopt;
  const bool tls = options_.is_service ? plan.count(PortKind::TlsHttp) > 0 : options_.tls;
  if (options_.is_service && plan.http() == 0) return Choice{};
  return Choice{tls ? How::Https : How::Http};
}

PortSession::Choice PortSession::of_app(AppId app) const {
  const machines::AppViewPtr& view = context_.view(app);
  if (!view || view->removed) return {};
  const ExposedPort exposed = exposed_port(*view->config, options_.external_port);
  if (exposed.port == nullptr) return {};
  switch (kind_of(*exposed.port)) {
    case PortKind::Http:
      // On [listen] https every host is served with TLS.
      return {options_.tls ? How::Https : How::Nobody, app, true};
    case PortKind::TlsHttp:
      return {How::Https, app, true};
    case PortKind::Tls:
      return {How::Tls, app, true};
    case PortKind::PgTls:
      return {How::Postgres, app, true};
    case PortKind::Raw:
      return {How::Raw, app, true};
  }
  return {};
}

// A hello is here, whole. Without a name, or with one that is nobody's, it is for who is alone.
PortSession::Choice PortSession::by_name(const PortPlan& plan) const {
  const bool is_gateway = !sni_.empty() && sni_ == context_.settings->gateway_host;
  if (!is_gateway) {
    const auto named = sni_.empty() ? std::nullopt : context_.router.find_app(sni_);
    const auto app = named ? named : plan.only();
    const Choice choice = app ? of_app(*app) : Choice{};
    // Who asked as PostgreSQL's clients do gets PostgreSQL, or an error in its words.
    if (is_postgres_) {
      return choice.how == How::Postgres ? choice : Choice{How::Postgres};
    }
    if (choice.is_known && choice.how != How::Nobody) return choice;
  }
  const bool serves_https = options_.tls || plan.count(PortKind::TlsHttp) > 0;
  return {serves_https ? How::Https : How::Nobody};
}

// No TLS: HTTP, or the only one here.
PortSession::Choice PortSession::in_the_clear(const PortPlan& plan, bool is_postgres) const {
  const bool serves_http = options_.is_service ? plan.count(PortKind::Http) > 0 : !options_.tls;
  if (const auto only = plan.only(); only && plan.count(PortKind::Raw) == 1) return of_app(*only);
  if (serves_http && !is_postgres) return {How::Http};
  return {options_.tls ? How::Https : How::Nobody};
}

// ---- 4

Task<> PortSession::secure(const Choice& choice) {
  if (context_.tls == nullptr) co_return Error(Fault::TlsHandshake);
  std::shared_ptr<const tls::TlsProfile> profile;
  if (choice.is_known) {
    const ExposedPort exposed =
        exposed_port(*context_.view(choice.app)->config, options_.external_port);
    if (exposed.port != nullptr) {
      profile = std::make_shared<const tls::TlsProfile>(raw_profile(*exposed.port));
    }
  }
  const TimePoint began = context_.loop.now();
  auto handshake =
      co_await tls::accept_tls(stream_, *context_.tls, waiter_, deadline_, std::move(profile));
  if (!handshake) {
    context_.metrics.tls_errors.add();
    context_.metrics.faults[static_cast<std::size_t>(handshake.error().fault)].add();
    co_return handshake.error();
  }
  facts_.tls_version =
      SSL_version(stream_.ssl()) == TLS1_3_VERSION ? TlsVersion::Tls13 : TlsVersion::Tls12;
  context_.metrics.tls_handshakes[static_cast<std::size_t>(facts_.tls_version)].add();
  if (handshake->resumed) context_.metrics.tls_resumed.add();
  context_.metrics.tls_time.add(
      std::chrono::duration_cast<std::chrono::microseconds>(context_.loop.now() - began));
  co_return {};
}

// ---- 5

void PortSession::run_http(bool tls) {
  is_handed_over_ = true;
  facts_.tls = tls;
  start_http(context_, stream_.pollable().release(), facts_);
}

Task<> PortSession::run_tcp(const Choice& choice, Fault refused_by) {
  PrivateTarget target{.fault = refused_by, .app = choice.app, .port = options_.external_port};
  if (refused_by == Fault::None) target.kind = PrivateTarget::Kind::Service;
  is_postgres_ = is_postgres_ || choice.how == How::Postgres;
  const std::string asked = ends_.to.to_string();
  TcpSession session(context_,
                     {.stream = stream_,
                      .waiter = waiter_,
                      .ends = ends_,
                      .name = sni_,
                      .tls = facts_.tls_version,
                      .asked = asked,
                      .is_postgres = is_postgres_},
                     std::move(target));
  co_await session.run();
  if (is_postgres_ && !session.was_connected()) co_await linger(context_, stream_, waiter_);
  co_return {};
}

// The connection leads nowhere: it is logged and counted as any other. Who left without a word has
// asked for nothing.
Task<> PortSession::refuse(Fault fault) {
  if (fault == Fault::ClientLeft) {
    context_.metrics.faults[static_cast<std::size_t>(fault)].add();
    co_return {};
  }
  co_return co_await run_tcp({}, fault);
}

}  // namespace rooster::proxy
