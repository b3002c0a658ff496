#include "app/private_network.hpp"

#include "app/wg_set.hpp"
#include "cluster/node_key.hpp"
#include "core/private_address.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace rooster::app {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kEntriesPerCatch = 1000;  // one message of the keeper's, and one transaction
constexpr auto kCatchAgainAfter = 2s;
constexpr auto kKeepAgainAfter = 5s;
constexpr std::size_t kMostUnkept = 100'000;
constexpr int kMaxPortsOfRange = 1024;  // of a service's port range, in the hub's rules

keeper::Subnet subnet_of(const cluster::Peer& peer) {
  return {.address = prefix_of(peer.address, kPeerPrefixBits), .bits = kPeerPrefixBits};
}

template <class T>
std::vector<T> missing(const std::set<T>& from, const std::set<T>& in) {
  std::vector<T> found;
  std::ranges::set_difference(in, from, std::back_inserter(found));
  return found;
}

bool is_wakeable(const machines::AppView& view, const std::string& group) {
  const auto wake = std::ranges::find(view.wakes, group, &machines::WakeState::group);
  return wake != view.wakes.end() && wake->autostart && wake->retry_at != kNever;
}

}  // namespace

Result<std::unique_ptr<PrivateNetwork>> PrivateNetwork::open(Parts parts) {
  const std::string& data = parts.config->node.fixed.data;
  auto archive = cluster::Archive::open(data + "/state.db");
  if (!archive) return fail(archive.error());
  auto made = std::make_unique<PrivateNetwork>(std::move(parts), std::move(*archive));
  auto rows = made->archive_.load();
  if (!rows) return fail(rows.error());
  made->registry_.restore(*rows);
  auto key = cluster::open_or_create_key(data + "/wireguard.key", cluster::kernel_random);
  if (!key) return fail(key.error());
  made->private_key_ = *key;
  if (auto hub = made->open_hub(); !hub) return fail(hub.error());
  return made;
}

PrivateNetwork::PrivateNetwork(Parts parts, cluster::Archive archive)
    : parts_(std::move(parts)),
      archive_(std::move(archive)),
      registry_({}, cluster::kernel_random, [this](cluster::Rows rows) { keep(std::move(rows)); }) {
}

PrivateNetwork::~PrivateNetwork() = default;

// The hub, as far as it is possible here: without namespaces machines share the host's network, and
// without a device lwIP terminates what comes from peers.
Result<> PrivateNetwork::open_hub() {
  const config::NodeFixed& fixed = parts_.config->node.fixed;
  const config::StackKind stack = fixed.wireguard->stack;
  if (!parts_.welcome.no_private_network.empty()) {
    no_namespaces_ = parts_.welcome.no_private_network;
    return without_device(no_namespaces_);
  }
  keeper::Hub hub{.tun_name = stack == config::StackKind::Lwip ? "" : fixed.wireguard->interface,
                  .tun_mtu = fixed.wireguard->mtu,
                  .tun_offload = true,
                  .listeners = static_cast<std::uint16_t>(parts_.worker_count)};
  keeper::Reply reply = parts_.keeper.call(std::move(hub));
  if (const auto* failed = std::get_if<keeper::Failed>(&reply)) {
    no_namespaces_ = failed->text;
    return without_device(no_namespaces_);
  }
  hub_ = std::move(std::get<keeper::HubReady>(reply));
  has_hub_ = true;
  if (!hub_.no_catch.empty()) {
    parts_.log.warn("private addresses are not caught: " + hub_.no_catch);
  }
  listeners_ = std::move(hub_.listeners);
  has_namespaces_ = fixed.network_mode == config::NetworkMode::Private && hub_.no_catch.empty();
  if (!has_namespaces_) {
    no_namespaces_ = hub_.no_catch.empty() ? "[rooster] network_mode is \"host\"" : hub_.no_catch;
  }
  if (!hub_.tun && stack != config::StackKind::Lwip) return without_device(hub_.no_tun);
  return {};
}

Result<> PrivateNetwork::without_device(const std::string& why) {
  if (parts_.config->node.fixed.wireguard->stack == config::StackKind::Netns) {
    return fail(Fault::Internal, "[wireguard] stack = \"netns\" is not possible here: " + why +
                                     "; mend that, or write stack = \"auto\"");
  }
  parts_.log.info("peers' connections end in lwIP: " + why);
  return {};
}

Result<> PrivateNetwork::start() {
  const config::NodeConfig& node = parts_.config->node;
  gateway_ = std::make_unique<Gateway>(Gateway::Parts{
      .log = parts_.log,
      .private_key = private_key_,
      .wireguard = *node.fixed.wireguard,
      .gateway_host = node.gateway_host(),
      .dns_upstream = node.fixed.dns_upstream,
      .tun = std::move(hub_.tun),
      .dns_datagrams = std::move(hub_.dns_datagrams),
      .dns_listener = std::move(hub_.dns_listener),
      .accepted = [this](tunnel::Dialled connection) { spread(std::move(connection)); },
      .peer_timeout = node.reloadable.peer_timeout,
      .remember =
          [this](Gateway::Memories memories) {
            parts_.loop.post([this, memories = std::move(memories)] { remember(memories); });
          },
      .silent =
          [this](std::vector<cluster::Key> peers) {
            parts_.loop.post([this, peers = std::move(peers)] { cut_silent(peers); });
          },
      .counted = parts_.counted,
      .change_peers =
          [this](const tunnel::UapiRequest& request) {
            parts_.loop.post([this, request] {
              apply_wg_set(request, registry_, std::chrono::system_clock::now());
            });
          }});
  if (auto started = gateway_->start(); !started) return started;
  if (!has_namespaces_) {
    parts_.log.warn(
        "machines share the host's network, where only their declared ports are private "
        "destinations: " +
        no_namespaces_);
  }
  catches_.push_back({.clear = true});
  for (const cluster::PeerPtr& peer : registry_.peers()) put_peer(peer);
  registry_.on_change([this](const cluster::Change& change) { on_change(change); });
  minute_ = std::make_unique<Timer>(parts_.loop, [this] { each_minute(); });
  minute_->set(Clock::now() + 60s);
  catch_again_ = std::make_unique<Timer>(parts_.loop, [this] { catch_all(); });
  flush();
  return {};
}

void PrivateNetwork::each_minute() {
  registry_.tick(std::chrono::system_clock::now());
  registry_.flush();
  if (!is_kept_) keep({});
  minute_->set(Clock::now() + 60s);
}

void PrivateNetwork::stop() {
  minute_.reset();
  catch_again_.reset();
  if (gateway_) remember(gateway_->stop());
}

// ---- the registry

// Nothing waits for the disk. What can't be kept is tried again, and nothing new is made until it
// is.
void PrivateNetwork::keep(cluster::Rows rows) {
  parts_.background.post([this, rows = std::move(rows)]() mutable { write(std::move(rows)); });
}

// On the background thread.
void PrivateNetwork::write(cluster::Rows rows) {
  const bool was_kept = unkept_.empty();
  unkept_.insert(unkept_.end(), std::make_move_iterator(rows.begin()),
                 std::make_move_iterator(rows.end()));
  const auto written = archive_.write(unkept_);
  if (written) {
    unkept_.clear();
    if (was_kept) return;
    parts_.log.info("the registry is kept again");
  } else if (unkept_.size() > kMostUnkept) {
    // Sessions say the same again, and the ledger is no promise without a disk.
    std::erase_if(unkept_, [](const cluster::Row& row) {
      return std::holds_alternative<cluster::MemoryRow>(row) ||
             std::holds_alternative<cluster::AuditEntry>(row);
    });
  }
  std::string why = written ? "" : written.error().detail;
  if (!why.empty() && was_kept) parts_.log.error("the registry can't be kept: " + why);
  parts_.loop.post([this, why = std::move(why)] {
    is_kept_ = why.empty();
    if (!is_kept_ && minute_) minute_->set(Clock::now() + kKeepAgainAfter);
    registry_.set_unwritable(why);
  });
}

machines::PrivatePlaces PrivateNetwork::places() {
  return {.of_app =
              [this](const config::AppConfig& config) {
                cluster::AddressBook& book = registry_.addresses();
                machines::AppPlace place{.network = book.network(config.rooster.network),
                                         .has_namespaces = has_namespaces_};
                if (!config.services.empty()) {
                  place.flycast = book.flycast(place.network, config.name);
                }
                return place;
              },
          .of_machine =
              [this](NetworkId network, const MachineId& machine) {
                return registry_.addresses().machine(network, machine);
              }};
}

void PrivateNetwork::remember(const Gateway::Memories& memories) {
  for (const auto& [key, memory] : memories) registry_.remember(key, memory);
  registry_.flush();
}

void PrivateNetwork::on_change(const cluster::Change& change) {
  for (const cluster::PeerPtr& peer : change.gone) {
    gateway_->remove_peer(peer);
    pending().remove_peers.push_back(subnet_of(*peer));
    loads_.erase(peer->key);
    if (parts_.end_calls) parts_.end_calls(peer->address);
    tell_workers(std::make_shared<proxy::PeerFact>(proxy::PeerFact{
        .address = peer->address, .network = peer->network, .name = peer->name, .removed = true}));
  }
  for (const cluster::PeerPtr& peer : change.now) put_peer(peer);
  flush();
}

void PrivateNetwork::put_peer(const cluster::PeerPtr& peer) {
  gateway_->put_peer(peer, registry_.memory_of(peer->key));
  pending().add_peers.push_back(subnet_of(*peer));
  auto& load = loads_[peer->key];
  if (!load) load = std::make_shared<proxy::PeerLoad>();
  tell_workers(std::make_shared<proxy::PeerFact>(
      proxy::PeerFact{.address = peer->address,
                      .network = peer->network,
                      .name = peer->name,
                      .token = peer->token,
                      .apps = peer->apps,
                      .may_connect = peer->rights.has(cluster::Right::Connect),
                      .load = load}));
}

void PrivateNetwork::tell_workers(const proxy::PeerFactPtr& fact) {
  for (auto& worker : parts_.workers) worker->adopt(fact);
}

void PrivateNetwork::cut_silent(const std::vector<cluster::Key>& peers) {
  for (const cluster::Key& key : peers) {
    const cluster::PeerPtr peer = registry_.find_peer(key);
    if (!peer) continue;
    for (auto& worker : parts_.workers) worker->cut_peer(peer->address);
  }
}

// ---- apps

void PrivateNetwork::adopt(std::shared_ptr<const config::ConfigSet> config) {
  parts_.config = std::move(config);
  gateway_->adopt(parts_.config->node.reloadable.peer_timeout);
}

void PrivateNetwork::adopt(const std::vector<machines::AppViewPtr>& views) {
  Gateway::AppChanges changes;
  for (const machines::AppViewPtr& view : views) {
    Caught now = view->removed ? Caught{} : caught_by(*view);
    Caught& before = caught_[view->id];
    const bool moved = before.name != now.name || before.network != now.network;
    if (moved && !before.name.empty()) changes.gone.emplace_back(before.network, before.name);
    if (!view->removed) changes.now.emplace_back(view->network, record_of(*view));
    catch_difference(before, now);
    before = std::move(now);
    if (view->removed) caught_.erase(view->id);
  }
  gateway_->adopt(std::move(changes));
  flush();
  registry_.flush();  // addresses given to what is new
}

PrivateNetwork::Caught PrivateNetwork::caught_by(const machines::AppView& view) const {
  Caught caught{.network = view.network, .name = view.config->name, .ports = {}, .addresses = {}};
  if (view.flycast != IpAddress()) {
    for (const config::Service& service : view.config->services) {
      if (service.protocol != config::Protocol::Tcp) continue;
      for (const config::Port& port : service.ports) {
        const int last = std::min<int>(port.end, port.start + kMaxPortsOfRange - 1);
        for (int number = port.start; number <= last; ++number) {
          caught.ports.insert({view.flycast, static_cast<std::uint16_t>(number)});
        }
      }
    }
  }
  for (const machines::MachineView& machine : view.machines) {
    if (machine.private_address != IpAddress()) caught.addresses.insert(machine.private_address);
  }
  return caught;
}

// The last one that has room.
keeper::Catch& PrivateNetwork::pending() {
  const auto entries = [](const keeper::Catch& one) {
    return one.add_addresses.size() + one.remove_addresses.size() + one.add_ports.size() +
           one.remove_ports.size() + one.add_pings.size() + one.remove_pings.size() +
           one.add_peers.size() + one.remove_peers.size();
  };
  if (catches_.empty() || entries(catches_.back()) >= kEntriesPerCatch) catches_.emplace_back();
  return catches_.back();
}

void PrivateNetwork::catch_difference(const Caught& before, const Caught& now) {
  for (const Endpoint& port : missing(now.ports, before.ports)) {
    pending().remove_ports.push_back(port);
  }
  for (const Endpoint& port : missing(before.ports, now.ports)) pending().add_ports.push_back(port);
  for (const IpAddress& address : missing(now.addresses, before.addresses)) {
    pending().remove_addresses.push_back(address);
  }
  for (const IpAddress& address : missing(before.addresses, now.addresses)) {
    pending().add_addresses.push_back(address);
  }
  const IpAddress had = before.ports.empty() ? IpAddress() : before.ports.begin()->address;
  const IpAddress has = now.ports.empty() ? IpAddress() : now.ports.begin()->address;
  if (had == has) return;
  if (had != IpAddress()) pending().remove_pings.push_back(had);
  if (has != IpAddress()) pending().add_pings.push_back(has);
}

// A hub that died under a change may have missed it: it is told all again.
void PrivateNetwork::catch_all() {
  is_caught_ = true;
  catches_.clear();
  catches_.push_back({.clear = true});
  for (const cluster::PeerPtr& peer : registry_.peers()) {
    pending().add_peers.push_back(subnet_of(*peer));
  }
  for (const auto& [app, caught] : caught_) catch_difference({}, caught);
  flush();
}

void PrivateNetwork::when_routed(std::move_only_function<void()> done) {
  flush();
  if (answered_ == told_) return done();
  waiting_.emplace_back(told_, std::move(done));
}

void PrivateNetwork::on_answered() {
  ++answered_;
  while (!waiting_.empty() && waiting_.front().first <= answered_) {
    auto done = std::move(waiting_.front().second);
    waiting_.pop_front();
    done();
  }
}

void PrivateNetwork::flush() {
  if (!has_hub_) catches_.clear();
  while (!catches_.empty()) {
    ++told_;
    parts_.keeper.request(std::move(catches_.front()), [this](const keeper::Reply& reply) {
      on_answered();
      const auto* failed = std::get_if<keeper::Failed>(&reply);
      if (failed == nullptr || !is_caught_ || !catch_again_) return;
      is_caught_ = false;
      parts_.log.error("the private network's rules: " + failed->text + "; trying again");
      catch_again_->set(Clock::now() + kCatchAgainAfter);
    });
    catches_.pop_front();
  }
  registry_.flush();
}

dns::AppRecord PrivateNetwork::record_of(const machines::AppView& view) const {
  dns::AppRecord record{.name = view.config->name,
                        .flycast = view.flycast,
                        .internal_wake = parts_.config->node.reloadable.internal_wake,
                        .machines = {}};
  for (const machines::MachineView& machine : view.machines) {
    record.machines.push_back(
        {.id = machine.id.value,
         .region = machine.region,
         .group = machine.group,
         .state = machine.awake ? dns::MachineState::Started : dns::MachineState::Stopped,
         .address = machine.private_address,
         .wakeable = is_wakeable(view, machine.group)});
  }
  return record;
}

// On the tunnel thread.
void PrivateNetwork::spread(tunnel::Dialled connection) {
  Worker& worker = *parts_.workers[next_worker_++ % parts_.workers.size()];
  worker.serve({.fd = std::move(connection.fd),
                .local = connection.local,
                .remote = connection.remote,
                .reset = std::move(connection.reset)});
}

// ---- sockets for workers

void PrivateNetwork::order(WorkerId worker, proxy::SocketOrder order) {
  keeper::Sockets request{.machine = order.machine,
                          .is_transparent = order.machine.empty(),
                          .count = static_cast<std::uint16_t>(order.count)};
  parts_.keeper.request(std::move(request), [this, worker, id = order.id](keeper::Reply reply) {
    std::vector<Descriptor> sockets;
    if (auto* made = std::get_if<keeper::SocketsMade>(&reply)) sockets = std::move(made->sockets);
    parts_.workers[worker.value]->deliver(id, std::move(sockets));
  });
}

}  // namespace rooster::app
