// The flow of a private connection:
//   1. accept_loop()  its original destination is the socket's own address
//   2. serve()        who speaks, where it leads, the limits of the peer and of its network
//   3. run_http(), run_tcp(), run_api(), run_egress(), or handed over
// What may not be is reset: a private address has no other way to say no.
#include "proxy/private_listener.hpp"

#include "core/private_address.hpp"
#include "proxy/egress_session.hpp"
#include "proxy/h1_session.hpp"
#include "proxy/private_call.hpp"
#include "proxy/tcp_session.hpp"
#include "proxy/worker_context.hpp"
#include "tls/accept.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace rooster::proxy {

namespace {

constexpr int kAcceptsPerTurn = 64;
constexpr int kMostRest = 4096;  // as long as the backlog

bool is_exhausted(int reason) {
  return reason == EMFILE || reason == ENFILE || reason == ENOBUFS || reason == ENOMEM;
}

void reset(const PrivateAccepted& accepted) {
  if (accepted.reset) accepted.reset->store(true);
  const linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(accepted.fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

// A laptop may sleep: its connections are kept until the peer counts as gone.
void be_patient(int fd, std::chrono::milliseconds peer_timeout) {
  const int on = 1;
  const int off = 0;
  const int patience = static_cast<int>(peer_timeout.count());
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &off, sizeof off);
  ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience, sizeof patience);
}

const config::Port* find_port(const machines::AppView& view, std::uint16_t external_port) {
  const config::Service* service = view.config->service_for_port(external_port);
  if (service == nullptr) return nullptr;
  const auto port = std::ranges::find_if(
      service->ports, [&](const auto& one) { return one.contains(external_port); });
  return port == service->ports.end() ? nullptr : &*port;
}

}  // namespace

class PrivateListener::Place : public Link {
 public:
  Place(PrivateListener& listener, PrivateSource source, int fd)
      : listener_(listener), source_(std::move(source)), fd_(fd) {
    link_before(listener_.places_);
    ++listener_.connections_;
  }
  ~Place() {
    --listener_.connections_;
    if (source_.peer && source_.peer->load) source_.peer->load->close();
    if (source_.who != PrivateSource::Who::Operator) {
      listener_.context_.budget.of_network(source_.network).fetch_sub(1, std::memory_order_relaxed);
    }
    if (counts_as_client_) {
      listener_.context_.budget.clients.fetch_sub(1, std::memory_order_relaxed);
    }
  }
  Place(const Place&) = delete;

  const PrivateSource& source() const { return source_; }
  /// An HTTP session gives its place among the clients back by itself.
  void leave_budget_to_session() { counts_as_client_ = false; }
  /// The waiter of its session, so that cut() finds it.
  void set_waiter(Waiter* waiter) { waiter_ = waiter; }
  /// Ends the connection, whatever it is doing; an HTTP session sees a client that has left.
  void cut() const {
    if (waiter_ != nullptr) {
      waiter_->interrupt(Fault::Interrupted);
    } else {
      ::shutdown(fd_, SHUT_RDWR);
    }
  }

 private:
  PrivateListener& listener_;
  PrivateSource source_;
  int fd_;
  Waiter* waiter_ = nullptr;
  bool counts_as_client_ = true;
};

PrivateListener::PrivateListener(WorkerContext& context, std::vector<Descriptor> listeners,
                                 Options options)
    : context_(context), options_(std::move(options)), listeners_(std::move(listeners)) {
  if (options_.max_per_network == 0) {
    options_.max_per_network = context.budget.max_clients * limits::kNetworkShare / 100;
  }
}

void PrivateListener::start(TaskGroup& group) {
  for (Descriptor& fd : std::exchange(listeners_, {})) {
    doors_.push_back(std::make_unique<Door>(context_.loop, group, std::move(fd)));
    group.spawn(accept_loop(*doors_.back()));
  }
}

void PrivateListener::stop() {
  stopped_ = true;
  for (auto& door : doors_) door->waiter.notify();
}

// ---- 1

Task<> PrivateListener::accept_loop(Door& door) {
  Pollable& listener = door.pollable;
  int rest = kMostRest;  // those whose handshake is done when stop() comes are still ours
  while (rest > 0) {
    int accepted = 0;
    bool is_full = false;
    for (; accepted < kAcceptsPerTurn; ++accepted) {
      sockaddr_storage from{};
      socklen_t size = sizeof from;
      Descriptor fd(::accept4(listener.fd(), reinterpret_cast<sockaddr*>(&from), &size,
                              SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (fd) {
        sockaddr_storage to{};
        size = sizeof to;
        ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&to), &size);
        serve({.fd = std::move(fd), .local = Endpoint::from(to), .remote = Endpoint::from(from)});
        continue;
      }
      if (errno == EAGAIN || errno == EWOULDBLOCK) {
        listener.clear(Pollable::kReadable);
        if (stopped_) rest = 0;
        break;
      }
      if (is_exhausted(errno)) {
        context_.metrics.connections_refused.add();
        is_full = true;
        break;
      }
    }
    if (stopped_) rest = is_full ? 0 : rest - accepted;
    if (rest <= 0) break;
    if (is_full) {
      co_await door.waiter.wait(context_.loop.now() + limits::kTick);
      continue;
    }
    if (accepted == kAcceptsPerTurn)
      door.waiter.notify();  // the sessions have their turn in between
    co_await door.waiter.wait(kNever, {&listener, Pollable::kReadable});
  }
  listener.close();
  co_return {};
}

// ---- 2

void PrivateListener::serve(PrivateAccepted accepted) {
  const auto source = table_.source(accepted.remote.address);
  if (!source || !enter(*source)) {
    context_.metrics.connections_refused.add();
    if (source) context_.metrics.faults[static_cast<std::size_t>(Fault::PeerLimit)].add();
    return reset(accepted);
  }
  be_patient(accepted.fd.get(), context_.settings->peer_timeout);
  admit(std::move(accepted), *source, table_.destination(*source, accepted.local));
}

// Takes what a Place gives back. False: a limit is reached.
bool PrivateListener::enter(const PrivateSource& source) {
  if (context_.budget.clients.load(std::memory_order_relaxed) >= context_.budget.max_clients) {
    return false;
  }
  // Counted first, looked at then: never over the limit.
  std::atomic<std::size_t>& count = context_.budget.of_network(source.network);
  const bool fits = count.fetch_add(1, std::memory_order_relaxed) < options_.max_per_network;
  if (!fits ||
      (source.peer && source.peer->load && !source.peer->load->try_open(context_.loop.now()))) {
    count.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  context_.budget.clients.fetch_add(1, std::memory_order_relaxed);
  return true;
}

void PrivateListener::admit(PrivateAccepted accepted, const PrivateSource& source,
                            const PrivateTarget& target) {
  using Kind = PrivateTarget::Kind;
  auto place = std::make_unique<Place>(*this, source, accepted.fd.get());
  switch (target.kind) {
    case Kind::Service: {
      const machines::AppViewPtr& view = context_.view(target.app);
      const config::Port* port = view ? find_port(*view, target.port) : nullptr;
      const bool tls = port != nullptr && port->has(config::Handler::Tls) && context_.tls;
      const bool http = port != nullptr && port->has(config::Handler::Http);
      context_.sessions.spawn(http ? run_http(std::move(place), std::move(accepted), target, tls)
                                   : run_tcp(std::move(place), std::move(accepted), target, tls));
      return;
    }
    case Kind::Refused:
    case Kind::Machines:
      context_.sessions.spawn(run_tcp(std::move(place), std::move(accepted), target, false));
      return;
    case Kind::Api:
      context_.sessions.spawn(run_api(std::move(place), std::move(accepted), ""));
      return;
    case Kind::Egress:
      context_.sessions.spawn(run_egress(std::move(place), std::move(accepted)));
      return;
    case Kind::Dns:
      if (!options_.serve_dns) return reset(accepted);
      options_.serve_dns(std::move(accepted.fd), source);
      return;
  }
}

// ---- 3

Task<> PrivateListener::run_http(std::unique_ptr<Place> place, PrivateAccepted accepted,
                                 PrivateTarget target, bool tls) {
  ClientFacts facts;
  facts.peer_address = accepted.remote.address;
  facts.tls = tls;
  facts.port = facts.local_port = target.port;
  facts.private_app = target.app;
  place->leave_budget_to_session();
  co_return co_await H1Session::run(
      std::make_unique<H1Session>(context_, std::move(accepted.fd), facts));
}

Task<> PrivateListener::run_tcp(std::unique_ptr<Place> place, PrivateAccepted accepted,
                                PrivateTarget target, bool tls) {
  Stream stream(context_.loop, std::move(accepted.fd));
  stream.watch_reset(std::move(accepted.reset));
  Waiter waiter(context_.sessions);
  place->set_waiter(&waiter);
  if (tls) {
    auto handshake = co_await tls::accept_tls(stream, *context_.tls, waiter,
                                              context_.loop.now() + limits::kHandshakeTimeout);
    if (!handshake) {
      context_.metrics.tls_errors.add();
      context_.metrics.faults[static_cast<std::size_t>(handshake.error().fault)].add();
      co_return {};
    }
  }
  const std::string asked = accepted.local.to_string();
  TcpSession session(
      context_, {.stream = stream, .waiter = waiter, .source = place->source(), .asked = asked},
      std::move(target));
  co_return co_await session.run();
}

Task<> PrivateListener::run_api(std::unique_ptr<Place> place, PrivateAccepted accepted,
                                std::string input) {
  Stream stream(context_.loop, std::move(accepted.fd));
  stream.watch_reset(std::move(accepted.reset));
  Waiter waiter(context_.sessions);
  place->set_waiter(&waiter);
  co_return co_await run_private_call(context_, stream, waiter, place->source(), table_,
                                      std::move(input), options_.hand_over);
}

Task<> PrivateListener::run_egress(std::unique_ptr<Place> place, PrivateAccepted accepted) {
  Stream stream(context_.loop, std::move(accepted.fd));
  stream.watch_reset(std::move(accepted.reset));
  Waiter waiter(context_.sessions);
  place->set_waiter(&waiter);
  co_return co_await proxy::run_egress(context_, stream, waiter, place->source(), accepted.local,
                                       options_.egress_denied);
}

void PrivateListener::serve_operator(Descriptor fd, std::string input) {
  const PrivateSource source{.who = PrivateSource::Who::Operator, .name = "operator"};
  context_.budget.clients.fetch_add(1, std::memory_order_relaxed);
  auto place = std::make_unique<Place>(*this, source, fd.get());
  context_.sessions.spawn(run_api(
      std::move(place), {.fd = std::move(fd), .local = {}, .remote = {}}, std::move(input)));
}

// ---- facts

void PrivateListener::adopt(const PeerFactPtr& fact) {
  table_.adopt(fact);
  if (fact->removed) cut_peer(fact->address);
}

void PrivateListener::cut_peer(const IpAddress& address) {
  const IpAddress prefix = prefix_of(address, kPeerPrefixBits);
  for (Link* node = places_.next(); node != &places_; node = node->next()) {
    const auto* place = static_cast<const Place*>(node);
    const PrivateSource& source = place->source();
    if (source.peer && prefix_of(source.address, kPeerPrefixBits) == prefix) place->cut();
  }
}

}  // namespace rooster::proxy
