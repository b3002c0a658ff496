// The order of things: configuration, keeper, sockets, certificates, workers, control, admin; then
// the loop runs until a signal. Ending goes the other way round (Shutdown below): drain, machines,
// workers, admin, logs.
#include "app/server.hpp"

#include "admin/output_files.hpp"
#include "app/admin_side.hpp"
#include "app/app_users.hpp"
#include "app/certificates.hpp"
#include "app/control.hpp"
#include "app/listeners.hpp"
#include "app/private_network.hpp"
#include "app/reload.hpp"
#include "app/shutdown.hpp"
#include "app/start_report.hpp"
#include "app/thread_loop.hpp"
#include "app/ticket_store.hpp"
#include "app/worker.hpp"
#include "config/config_set.hpp"
#include "core/log.hpp"
#include "core/log_thread.hpp"
#include "core/metrics.hpp"
#include "keeper/client.hpp"
#include "proxy/access_log.hpp"
#include "proxy/log_writer.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <variant>

#include <sys/resource.h>

namespace rooster::app {

namespace {

constexpr auto kCertificateCheck = std::chrono::seconds(10);

// Raises the soft limit to the hard one and returns it: what the descriptor budget is made of.
std::size_t raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<std::size_t>(limit.rlim_cur);
}

std::size_t share(std::size_t descriptors, std::size_t percent) {
  return std::max<std::size_t>(descriptors * percent / 100, 16);
}

class Server {
 public:
  Server(const cli::ServeOptions& options, std::shared_ptr<const config::ConfigSet> config,
         keeper::Client keeper);
  Result<> start();
  int run();

 private:
  Result<> open_private_network();
  void open_gateway_door(proxy::GatewayArrival arrival);
  admin::GatewayFacts gateway_facts() const;
  std::optional<PrivateSide> private_side(WorkerId worker, std::vector<Descriptor>& listeners);
  Result<> start_workers();
  void make_admin();
  void start_control();
  void watch_signals();
  void wait_for_signal();
  void on_signal(int signal);
  void check_certificates();
  void keep_output(admin::LogLine origin, std::string bytes);
  void ready();
  std::shared_ptr<const proxy::EdgeSettings> edge_settings(const config::ConfigSet& config) const;
  void adopt_settings(const config::ConfigSet& config);
  std::size_t worker_count() const;

  std::shared_ptr<const config::ConfigSet> config_;
  const std::size_t descriptors_;
  Log log_;
  Metrics metrics_;
  std::vector<std::unique_ptr<proxy::AccessRing>> rings_;
  std::unique_ptr<proxy::LogWriter> access_log_;
  std::unique_ptr<admin::OutputFiles> output_files_;
  std::unique_ptr<LogThread> log_thread_;
  Loop loop_;  // control's: the main thread
  keeper::Client keeper_;
  keeper::Welcome welcome_;
  std::unique_ptr<Watch> keeper_watch_;
  Listeners listeners_;
  machines::WaitingLimits waiting_;
  proxy::ConnectionBudget budget_;
  Certificates certificates_;
  std::unique_ptr<TicketStore> tickets_;
  std::unique_ptr<AppUsers> users_;
  std::vector<std::unique_ptr<Worker>> workers_;
  ThreadLoop background_{"background"};
  std::unique_ptr<PrivateNetwork> private_network_;  // null without [wireguard]
  std::unique_ptr<Control> control_;
  std::unique_ptr<AdminSide> admin_;
  std::unique_ptr<Reload> reload_;
  std::unique_ptr<Shutdown> shutdown_;
  std::unique_ptr<Timer> certificate_timer_;
  std::unique_ptr<boost::asio::signal_set> signals_;
  std::atomic<std::size_t> output_in_flight_{0};
  std::atomic<std::size_t> next_worker_{0};
  const WallTime started_ = std::chrono::system_clock::now();
};

std::size_t Server::worker_count() const {
  const std::size_t wanted = config_->node.fixed.workers;
  const std::size_t cores = std::max(1u, std::thread::hardware_concurrency());
  return std::min(wanted != 0 ? wanted : cores, kMaxWorkers);
}

Server::Server(const cli::ServeOptions& options, std::shared_ptr<const config::ConfigSet> config,
               keeper::Client keeper)
    : config_(std::move(config)),
      descriptors_(raise_descriptor_limit()),
      log_({.format = options.log_format, .level = options.log_level}),
      metrics_(worker_count()),
      keeper_(std::move(keeper)),
      listeners_(keeper_, worker_count()),
      waiting_(share(descriptors_, limits::kClientShare)),
      budget_(share(descriptors_, limits::kClientShare)),
      certificates_(log_) {}

Result<> Server::start() {
  const keeper::Reply hello = keeper_.call(keeper::Hello{});
  if (const auto* welcome = std::get_if<keeper::Welcome>(&hello)) {
    welcome_ = *welcome;
  } else {
    return fail(Fault::Internal, "the keeper does not answer");
  }
  if (auto bound = listeners_.bind(config_->node); !bound) return bound;
  if (auto opened = certificates_.open(*config_); !opened) return opened;
  tickets_ = std::make_unique<TicketStore>(keeper_, log_);
  std::vector<proxy::AccessRing*> rings;
  for (std::size_t i = 0; i < worker_count(); ++i) {
    const WorkerId id{static_cast<std::uint8_t>(i)};
    rings_.push_back(std::make_unique<proxy::AccessRing>(metrics_.worker(id).access_log_dropped));
    rings.push_back(rings_.back().get());
  }
  access_log_ = std::make_unique<proxy::LogWriter>(config_->node.reloadable.access_log,
                                                   config_->node.reloadable.region, rings);
  output_files_ = std::make_unique<admin::OutputFiles>(config_->node.fixed.data + "/logs");
  log_thread_ = std::make_unique<LogThread>(std::vector<LogThread::Drain>{
      [this] { return log_.drain(); }, [this] { return access_log_->drain(Clock::now()); },
      [this] { return output_files_->drain(); }});
  if (auto opened = open_private_network(); !opened) return opened;
  if (auto started = start_workers(); !started) return started;
  background_.start();
  if (private_network_) {
    if (auto started = private_network_->start(); !started) return started;
  }
  start_control();
  if (auto started = admin_->start(config_->node.fixed.admin_socket); !started) return started;
  watch_signals();
  return {};
}

// ---- workers

std::shared_ptr<const proxy::EdgeSettings> Server::edge_settings(
    const config::ConfigSet& config) const {
  auto settings = std::make_shared<proxy::EdgeSettings>();
  settings->region = config.node.reloadable.region;
  if (private_network_) settings->gateway_host = config.node.gateway_host();
  settings->domain = config.node.reloadable.domain;
  settings->peer_timeout = config.node.reloadable.peer_timeout;
  settings->https_port =
      config.node.reloadable.https_redirect_port_443 ? 443 : listeners_.https_port();
  auto trusted = proxy::CidrList::compile(config.node.reloadable.trusted_proxies);
  if (trusted) settings->trusted_proxies = std::move(*trusted);  // the config was checked for it
  return settings;
}

void Server::adopt_settings(const config::ConfigSet& config) {
  const auto settings = edge_settings(config);
  for (auto& worker : workers_) worker->adopt(settings, config.node.reloadable.domain);
  access_log_->reopen(config.node.reloadable.access_log);
}

Result<> Server::open_private_network() {
  if (!config_->node.fixed.wireguard) return {};
  auto opened = PrivateNetwork::open({.loop = loop_,
                                      .background = background_.loop(),
                                      .log = log_,
                                      .keeper = keeper_,
                                      .workers = workers_,
                                      .worker_count = worker_count(),
                                      .config = config_,
                                      .welcome = welcome_,
                                      .end_calls =
                                          [this](const IpAddress& peer) {
                                            background_.loop().post(
                                                [this, peer] { admin_->end_calls(peer); });
                                          },
                                      .counted =
                                          [this](const GatewayCounts& counts) {
                                            background_.loop().post([this, counts] {
                                              if (admin_) admin_->node().adopt(counts);
                                            });
                                          }});
  if (!opened) return fail(opened.error());
  private_network_ = std::move(*opened);
  return {};
}

// What comes to rooster.<domain>: a tunnel by WebSocket, or an enrolment.
void Server::open_gateway_door(proxy::GatewayArrival arrival) {
  if (arrival.wants_websocket) {
    private_network_->gateway().adopt_websocket(std::move(arrival.connection),
                                                std::move(arrival.input), arrival.source);
    return;
  }
  background_.loop().post([this, arrival = std::move(arrival)]() mutable {
    admin_->adopt_enrolment(std::move(arrival.connection), std::move(arrival.input),
                            arrival.source);
  });
}

admin::GatewayFacts Server::gateway_facts() const {
  const config::NodeConfig& node = config_->node;
  admin::GatewayFacts facts{
      .public_key = tunnel::PrivateKey(private_network_->private_key()).public_key().bytes,
      .endpoint = node.wireguard_endpoint(private_network_->gateway().port()),
      .login_url = "https://" + node.gateway_host(),
      .pin = certificates_.pin(),
      .region = node.reloadable.region,
      .interface = node.fixed.wireguard->interface};
  const std::uint16_t https_port = listeners_.https_port();
  if (https_port != 443) facts.login_url += ":" + std::to_string(https_port);
  return facts;
}

std::optional<PrivateSide> Server::private_side(WorkerId worker,
                                                std::vector<Descriptor>& listeners) {
  if (!private_network_) return std::nullopt;
  PrivateSide side;
  // A predecessor may have had more workers: the kernel spreads connections over all of them.
  for (std::size_t i = worker.value; i < listeners.size(); i += worker_count()) {
    side.listeners.push_back(std::move(listeners[i]));
  }
  side.order = [this, worker](proxy::SocketOrder order) {
    loop_.post([this, worker, order = std::move(order)]() mutable {
      private_network_->order(worker, std::move(order));
    });
  };
  side.hand_over = [this](Descriptor fd, std::string input, const proxy::PrivateSource& source) {
    background_.loop().post(
        [this, fd = std::move(fd), input = std::move(input), from = source.address]() mutable {
          admin_->adopt_private_call(std::move(fd), std::move(input), from);
        });
  };
  return side;
}

Result<> Server::start_workers() {
  const std::size_t count = worker_count();
  std::vector<Descriptor> private_listeners;
  if (private_network_) private_listeners = private_network_->take_listeners();
  const auto settings = edge_settings(*config_);
  machines::GateSignals signals{
      .wake =
          [this](machines::WakeCommand command) {
            loop_.post([this, command = std::move(command)] { control_->wake(command); });
          },
      .slot_free = [this](WorkerId to, AppId app) { workers_[to.value]->slot_free(app); }};
  for (std::size_t i = 0; i < count; ++i) {
    const WorkerId id{static_cast<std::uint8_t>(i)};
    workers_.push_back(std::make_unique<Worker>(
        Worker::Shared{.id = id,
                       .workers = count,
                       .metrics = metrics_,
                       .ring = *rings_[i],
                       .waiting = waiting_,
                       .budget = budget_,
                       .signals = signals,
                       .domain = config_->node.reloadable.domain,
                       .settings = settings,
                       .certificates = certificates_.store(),
                       .tickets = tickets_->keys(),
                       .max_idle_upstream = share(descriptors_, limits::kUpstreamShare) / count,
                       .private_side = private_side(id, private_listeners),
                       .gateway_door = [this](proxy::GatewayArrival arrival) {
                         open_gateway_door(std::move(arrival));
                       }}));
  }
  std::vector<std::vector<ListenSocket>> sockets = listeners_.take_sockets();
  for (std::size_t i = 0; i < count; ++i) {
    if (auto started = workers_[i]->start(std::move(sockets[i])); !started) return started;
  }
  return {};
}

// ---- control and admin

void Server::start_control() {
  users_ = std::make_unique<AppUsers>(config_->node.fixed.data + "/app-users", welcome_.is_root);
  control_ = std::make_unique<Control>(Control::Parts{
      .loop = loop_,
      .log = log_,
      .metrics = metrics_,
      .keeper = keeper_,
      .waiting = waiting_,
      .budget = budget_,
      .workers = workers_,
      .region = config_->node.reloadable.region,
      .welcome = welcome_,
      .private_network = private_network_.get(),
      .is_own_listener = [this](const Endpoint& to) { return listeners_.is_own(to); },
      .uid_for = [this](const std::string& app) { return users_->uid_for(app); },
      .output = [this](admin::LogLine origin,
                       std::string bytes) { keep_output(std::move(origin), std::move(bytes)); },
      .output_ended =
          [this](admin::LogLine origin) {
            background_.loop().post(
                [this, origin = std::move(origin)] { admin_->node().tail().end_output(origin); });
          },
      .log_line =
          [this](admin::LogLine line) {
            background_.loop().post([this, line = std::move(line)]() mutable {
              admin_->node().tail().add(std::move(line));
            });
          },
      .name_app =
          [this](AppId app, std::string name) {
            background_.loop().post([this, app, name = std::move(name)]() mutable {
              admin_->node().name_app(app, std::move(name));
            });
          }});
  control_->set_status([this](admin::NodeStatus& status) {
    status.domain = config_->node.reloadable.domain;
    status.config_file = config_->node.file;
    status.started = started_;
    status.draining = shutdown_ != nullptr;
    status.last_reload_error = reload_->last_error();
    status.listening = listeners_.texts();
  });
  reload_ = std::make_unique<Reload>(
      Reload::Parts{.control_loop = loop_,
                    .background = background_.loop(),
                    .control = *control_,
                    .certificates = certificates_,
                    .log = log_,
                    .adopt_config =
                        [this](std::shared_ptr<const config::ConfigSet> config) {
                          config_ = config;
                          adopt_settings(*config);
                          if (private_network_) private_network_->adopt(config);
                          background_.loop().post([this, config] { admin_->node().adopt(config); });
                        },
                    .adopt_certificates =
                        [this](const std::shared_ptr<const tls::CertificateStore>& store) {
                          for (auto& worker : workers_) worker->adopt(store);
                        },
                    .config = config_});
  make_admin();
  keeper_watch_ = std::make_unique<Watch>(
      loop_, keeper_.fd(),
      [this] {
        while (keeper_.on_readable()) {
        }
        if (!keeper_.is_open()) {
          log_.error("the keeper is gone, and the machines with it; ending");
          loop_.stop();
        }
      },
      [this] { keeper_.on_writable(); });
  tickets_->rotate_on(loop_, [this](const std::shared_ptr<const tls::TicketKeys>& keys) {
    for (auto& worker : workers_) worker->adopt(keys);
  });
  certificate_timer_ = std::make_unique<Timer>(loop_, [this] { check_certificates(); });
  certificate_timer_->set(Clock::now() + kCertificateCheck);
  loop_.post([this] {
    control_->apply(nullptr, config_, [this](std::size_t) {
      for (auto& worker : workers_) worker->open();
      control_->adopt_machines([this] { ready(); });
    });
  });
}

void Server::make_admin() {
  admin_ = std::make_unique<AdminSide>(AdminSide::Parts{
      .node = {.background = background_.loop(),
               .control_loop = loop_,
               .control = *control_,
               .metrics = metrics_,
               .output_files = *output_files_,
               .reload =
                   [this](Answer<admin::ConfigReport> answer) {
                     reload_->request(std::move(answer));
                   }},
      .exec = {.background = background_.loop(),
               .control_loop = loop_,
               .control = *control_,
               .keeper = keeper_,
               .is_root = welcome_.is_root,
               .may_be_root = [this] { return config_->node.reloadable.exec_as_root; }},
      .log = log_,
      .network = private_network_
                     ? std::make_unique<AdminNetwork>(*private_network_, loop_, gateway_facts())
                     : nullptr,
      .connect = [this](Descriptor connection, std::string input) {
        const std::size_t worker = next_worker_.fetch_add(1) % workers_.size();
        workers_[worker]->serve_operator(std::move(connection), std::move(input));
      }});
  admin_->node().adopt(config_);
  control_->set_on_exec_exited(
      [this](const keeper::ExecExited& exited) { admin_->on_exec_exited(exited); });
}

// An app that writes faster than the background thread takes it loses its lines, not our memory.
void Server::keep_output(admin::LogLine origin, std::string bytes) {
  constexpr std::size_t kMostInFlight = 4 * 1024 * 1024;
  const std::size_t size = bytes.size();
  metrics_.control().output_dropped.add(output_files_->take_dropped());
  if (output_in_flight_.fetch_add(size) + size > kMostInFlight) {
    output_in_flight_.fetch_sub(size);
    metrics_.control().output_dropped.add(size);
    return;
  }
  background_.loop().post([this, origin = std::move(origin), bytes = std::move(bytes)] {
    admin_->node().tail().add_output(origin, bytes);
    output_in_flight_.fetch_sub(bytes.size());
  });
}

void Server::check_certificates() {
  background_.loop().post([this, config = config_] {
    if (!certificates_.refresh(*config)) return;
    loop_.post([this, store = certificates_.store()] {
      for (auto& worker : workers_) worker->adopt(store);
      log_.info("certificates renewed");
    });
  });
  certificate_timer_->set(Clock::now() + kCertificateCheck);
}

void Server::ready() {
  keeper_.request(keeper::Ready{}, [](keeper::Reply) {});
  report_start(log_, *config_, listeners_.texts(), listeners_.https_port(),
               certificates_.local_ca_file());
}

// ---- signals

void Server::watch_signals() {
  signals_ = std::make_unique<boost::asio::signal_set>(loop_.io(), SIGTERM, SIGINT, SIGHUP);
  wait_for_signal();
}

void Server::wait_for_signal() {
  signals_->async_wait([this](auto failed, int signal) {
    if (failed) return;
    loop_.turn([&] { on_signal(signal); });
    wait_for_signal();
  });
}

void Server::on_signal(int signal) {
  if (signal == SIGHUP) {
    access_log_->reopen(config_->node.reloadable.access_log);
    reload_->request([](Result<admin::ConfigReport>) {});
    return;
  }
  if (shutdown_) {
    shutdown_->hurry();
    return;
  }
  listeners_.release();
  shutdown_ = std::make_unique<Shutdown>(
      Shutdown::Parts{.loop = loop_,
                      .log = log_,
                      .control = *control_,
                      .workers = workers_,
                      .lame_duck = config_->node.reloadable.lame_duck,
                      .drain_timeout = config_->node.reloadable.drain_timeout,
                      .done = [this] { control_->stop_drivers([this] { loop_.stop(); }); }});
}

int Server::run() {
  loop_.run();
  if (!keeper_.is_open()) {
    log_thread_.reset();
    std::_Exit(1);  // no machine is left to serve for: what is in flight is not waited for
  }
  for (auto& worker : workers_) worker->stop();
  for (auto& worker : workers_)
    worker->join();  // all, before one goes: they tell each other of free places
  admin_->stop_exec();
  if (private_network_) private_network_->stop();
  background_.loop().post([this] { admin_->stop([this] { background_.loop().stop(); }); });
  background_.join();
  workers_.clear();
  log_thread_.reset();
  return 0;
}

}  // namespace

int run_server(const cli::ServeOptions& options) {
  std::signal(SIGPIPE, SIG_IGN);
  auto keeper = keeper::connect_inherited();
  if (!keeper) {
    std::fprintf(stderr, "rooster: %s\n", keeper.error().detail.c_str());
    return 1;
  }
  const config::LoadResult loaded = config::load(options.config_file);
  if (!loaded.set) {
    for (const config::Diagnostic& diagnostic : loaded.diagnostics) {
      std::fprintf(stderr, "%s\n", render(diagnostic).c_str());
    }
    return 1;
  }
  Server server(options, loaded.set, std::move(*keeper));
  if (auto started = server.start(); !started) {
    std::fprintf(stderr, "rooster: %s\n", started.error().detail.c_str());
    std::_Exit(1);  // threads may run already; there is nothing to lose yet
  }
  return server.run();
}

}  // namespace rooster::app
