#include "app/worker.hpp"

#include "proxy/tunnel.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

namespace rooster::app {

namespace {

constexpr std::uint16_t kHttpsPort = 443;
constexpr auto kSweepEach = std::chrono::seconds(1);

// 2048 per source in the whole process; the kernel spreads connections evenly over the workers.
std::size_t per_worker(std::size_t in_all, std::size_t workers) {
  return (in_all + workers - 1) / workers;
}

}  // namespace

Worker::Worker(Shared shared)
    : sessions_(loop_),
      listening_(loop_),
      router_(shared.domain),
      gate_(shared.id, shared.waiting, shared.signals),
      pool_(shared.max_idle_upstream,
            std::max<std::size_t>(1, limits::kUpstreamConnections / shared.workers)),
      request_ids_(shared.settings->region),
      sources_(per_worker(limits::kMaxConnectionsPerSource, shared.workers)),
      shared_(std::move(shared)) {}

Worker::~Worker() {
  join();
}

void Worker::join() {
  if (thread_.joinable()) thread_.join();
}

Result<> Worker::start(std::vector<ListenSocket> sockets) {
  auto tls = tls::ServerContext::create({}, shared_.certificates, shared_.tickets,
                                        [this](std::string_view sni) { return profile_of(sni); });
  if (!tls) return fail(tls.error());
  tls_ = std::move(*tls);
  if (shared_.private_side) {
    sockets_ = std::make_unique<proxy::SocketStock>(loop_, shared_.private_side->order);
  }
  context_.reset(new proxy::WorkerContext{.id = shared_.id,
                                          .loop = loop_,
                                          .sessions = sessions_,
                                          .router = router_,
                                          .gate = gate_,
                                          .pool = pool_,
                                          .metrics = shared_.metrics.worker(shared_.id),
                                          .access_log = shared_.ring,
                                          .request_ids = request_ids_,
                                          .tls = tls_.get(),
                                          .budget = shared_.budget,
                                          .sockets = sockets_.get(),
                                          .settings = shared_.settings,
                                          .gateway_door = shared_.gateway_door});
  context_->random_state += shared_.id.value;
  for (ListenSocket& socket : sockets) {
    listeners_.push_back(std::make_unique<proxy::Listener>(*context_, listening_, sources_,
                                                           std::move(socket.fd), socket.options));
  }
  if (shared_.private_side) {
    proxy::PrivateListener::Options options;
    options.hand_over = shared_.private_side->hand_over;
    private_listener_ = std::make_unique<proxy::PrivateListener>(
        *context_, std::move(shared_.private_side->listeners), std::move(options));
  }
  tls_->set_on_hello([this](std::string_view sni, int fd) { prewake(sni, fd); });
  sweeper_ = std::make_unique<Waiter>(listening_);
  loop_.post([this] { listening_.spawn(sweep_pool()); });
  thread_ = std::thread([this] {
    const std::string name = "worker-" + std::to_string(shared_.id.value);
    pthread_setname_np(pthread_self(), name.c_str());
    loop_.run_data_path();
  });
  return {};
}

void Worker::open() {
  loop_.post([this] {
    if (context_->draining) return;
    for (auto& listener : listeners_) listening_.spawn(listener->accept_loop());
    if (private_listener_) private_listener_->start(listening_);
  });
}

// What the app's tls_options change; null: nothing. The gateway's door is one of HTTP/1.1: what
// goes through it leaves the worker as one connection.
std::shared_ptr<const tls::TlsProfile> Worker::profile_of(std::string_view sni) const {
  const tls::TlsProfile defaults;
  if (sni == context_->settings->gateway_host) {
    return std::make_shared<const tls::TlsProfile>(tls::TlsProfile{.alpn = {"http/1.1"}});
  }
  const auto app = router_.find_app(sni);
  if (!app || !context_->view(*app)) return nullptr;
  for (const config::Service& service : context_->view(*app)->config->services) {
    for (const config::Port& port : service.ports) {
      if (!port.contains(kHttpsPort) || !port.tls_options) continue;
      return std::make_shared<const tls::TlsProfile>(
          tls::TlsProfile::from(*port.tls_options, defaults));
    }
  }
  return nullptr;
}

// A sleeping app whose policy says so begins to wake at the TLS hello, a round trip before its
// request can be here. Control decides whether the source may (machines/prewake_budget.hpp).
void Worker::prewake(std::string_view sni, int fd) {
  const auto app = router_.find_app(sni);
  if (!app || context_->draining) return;
  const machines::AppViewPtr& view = context_->view(*app);
  if (!view->config->rooster.wake.sni_prewake) return;
  const auto service = std::ranges::find_if(view->config->services, [](const auto& one) {
    return std::ranges::any_of(one.ports,
                               [](const auto& port) { return port.has(config::Handler::Tls); });
  });
  if (service == view->config->services.end()) return;
  const machines::WakeState& wake = view->wakes[view->group_of(*service)];
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (wake.phase != machines::WakePhase::Asleep || !wake.autostart ||
      ::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return;
  }
  const IpAddress source = Endpoint::from(address).address;
  if (!machines::may_wake(view->config->rooster.wake, {.source = source, .only_sni = true})) return;
  shared_.signals.wake({.app = *app,
                        .group = wake.group,
                        .generation = wake.generation,
                        .asked_at = loop_.now(),
                        .source = source.to_string(),
                        .reason = "sni",
                        .hello_from = source});
}

Task<> Worker::sweep_pool() {
  while (!context_->draining) {
    co_await sweeper_->wait(loop_.now() + kSweepEach);
    pool_.sweep(loop_.now());
    if (sockets_) sockets_->sweep();
  }
  co_return {};
}

void Worker::adopt(std::shared_ptr<const std::vector<machines::AppViewPtr>> facts,
                   std::uint64_t epoch) {
  loop_.post([this, facts = std::move(facts), epoch] {
    for (const machines::AppViewPtr& fact : *facts) adopt_one(fact);
    adopted_epoch_.store(epoch, std::memory_order_release);
  });
}

void Worker::adopt_one(const machines::AppViewPtr& fact) {
  auto& views = context_->views;
  if (fact->id.value >= views.size()) views.resize(fact->id.value + 1);
  machines::AppViewPtr& current = views[fact->id.value];
  const bool routes_changed = !current || current->config != fact->config || current->removed;
  // A control block of this worker's own around the shared view: exchanges that pin it then never
  // touch a counter that another worker touches too.
  const auto holder = std::make_shared<machines::AppViewPtr>(fact);
  const machines::AppViewPtr before =
      std::exchange(current, machines::AppViewPtr(holder, fact.get()));
  if (fact->removed) {
    router_.remove(fact->id);
  } else if (routes_changed) {
    router_.adopt(fact->id, fact->config);
  }
  if (before) drop_idle(*before, *fact);
  if (private_listener_) private_listener_->adopt(current);
  gate_.adopt(current, loop_.now());
}

// Connections to machines that no longer run. Only those that did are looked for: a drop walks the
// whole pool, and a reload brings 100 000 sleeping apps.
void Worker::drop_idle(const machines::AppView& before, const machines::AppView& now) {
  for (const machines::MachineView& machine : before.machines) {
    if (!machine.awake) continue;
    const auto same = std::ranges::find(now.machines, machine.load, &machines::MachineView::load);
    if (same != now.machines.end() && same->awake) continue;
    pool_.drop(*machine.load);
    if (sockets_) sockets_->drop(*machine.load);
  }
}

template <class Which>
void Worker::leave_tunnels(Fault why, Which which) {
  Link& ring = context_->tunnels;
  for (Link* node = ring.next(); node != &ring; node = node->next()) {
    auto* tunnel = static_cast<proxy::Tunnel*>(node);
    if (which(*tunnel)) tunnel->go_away(why);
  }
}

void Worker::leave(std::shared_ptr<machines::MachineLoad> load) {
  loop_.post([this, load = std::move(load)] {
    leave_tunnels(Fault::Draining,
                  [&load](const proxy::Tunnel& tunnel) { return tunnel.load() == load.get(); });
  });
}

void Worker::adopt(proxy::PeerFactPtr peer) {
  loop_.post([this, peer = std::move(peer)] { private_listener_->adopt(peer); });
}

void Worker::cut_peer(IpAddress address) {
  loop_.post([this, address] { private_listener_->cut_peer(address); });
}

void Worker::deliver(std::uint64_t order, std::vector<Descriptor> sockets) {
  loop_.post([this, order, sockets = std::move(sockets)]() mutable {
    sockets_->deliver(order, std::move(sockets));
  });
}

void Worker::serve(proxy::PrivateAccepted accepted) {
  loop_.post([this, accepted = std::move(accepted)]() mutable {
    private_listener_->serve(std::move(accepted));
  });
}

void Worker::serve_operator(Descriptor fd, std::string input) {
  loop_.post([this, fd = std::move(fd), input = std::move(input)]() mutable {
    private_listener_->serve_operator(std::move(fd), std::move(input));
  });
}

void Worker::slot_free(AppId app) {
  loop_.post([this, app] { gate_.slot_free(app); });
}

void Worker::adopt(std::shared_ptr<const tls::CertificateStore> certificates) {
  loop_.post([this, certificates = std::move(certificates)]() mutable {
    tls_->adopt(std::move(certificates));
  });
}

void Worker::adopt(std::shared_ptr<const tls::TicketKeys> tickets) {
  loop_.post([this, tickets = std::move(tickets)]() mutable { tls_->adopt(std::move(tickets)); });
}

void Worker::adopt(std::shared_ptr<const proxy::EdgeSettings> settings, std::string domain) {
  loop_.post([this, settings = std::move(settings), domain = std::move(domain)]() mutable {
    context_->settings = std::move(settings);
    router_.set_domain(std::move(domain));
  });
}

void Worker::drain(std::function<void()> drained) {
  loop_.post([this, drained = std::move(drained)]() mutable {
    context_->draining = true;
    for (auto& listener : listeners_) listener->stop();
    if (private_listener_) private_listener_->stop();
    sweeper_->notify();
    gate_.fail_all(Fault::Draining);
    sessions_.notify_all();
    // A WebSocket has no end of its own: it is told at once, and can go on elsewhere.
    leave_tunnels(Fault::Draining,
                  [](const proxy::Tunnel& tunnel) { return tunnel.is_websocket(); });
    // The listeners accept what is queued before they end: only then are all sessions known.
    listening_.when_empty([this, drained = std::move(drained)]() mutable {
      sessions_.when_empty([drained = std::move(drained)] { drained(); });
    });
  });
}

void Worker::go_away() {
  loop_.post(
      [this] { leave_tunnels(Fault::DrainDeadline, [](const proxy::Tunnel&) { return true; }); });
}

void Worker::cut() {
  loop_.post([this] { sessions_.interrupt_all(Fault::DrainDeadline); });
}

void Worker::stop() {
  loop_.post([this] { loop_.stop(); });
}

}  // namespace rooster::app
