#include "keeper/private_network.hpp"

#include "keeper/namespaces.hpp"

#include <cerrno>
#include <csignal>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace rooster::keeper {
namespace {

Descriptor copy_of(const Descriptor& from) {
  return Descriptor(from ? ::fcntl(from.get(), F_DUPFD_CLOEXEC, 3) : -1);
}

HubReady copy_of(const HubReady& from) {
  HubReady copy{.tun = copy_of(from.tun),
                .no_tun = from.no_tun,
                .no_catch = from.no_catch,
                .listeners = {},
                .dns_datagrams = copy_of(from.dns_datagrams),
                .dns_listener = copy_of(from.dns_listener)};
  for (const Descriptor& one : from.listeners) copy.listeners.push_back(copy_of(one));
  return copy;
}

}  // namespace

PrivateNetwork::PrivateNetwork(Poller& poller, Outbox& outbox) : poller_(poller), outbox_(outbox) {}

PrivateNetwork::~PrivateNetwork() = default;

const std::string& PrivateNetwork::obstacle() {
  if (!obstacle_) obstacle_ = find_namespace_obstacle();
  return *obstacle_;
}

void PrivateNetwork::reply(std::uint64_t request, std::uint64_t server, Reply reply) {
  if (server == server_) outbox_.reply(request, std::move(reply));
}

void PrivateNetwork::begin(HubProcess process) {
  if (process_ && process_->client().is_open()) poller_.forget(process_->client().fd());
  process_.emplace(std::move(process));
  poller_.watch(process_->client().fd(), Source::Hub);
}

void PrivateNetwork::set_up(std::uint64_t request, Hub hub) {
  const std::uint64_t server = server_;
  if (!obstacle().empty())
    return outbox_.reply(request, Failed{.error = EPERM, .text = obstacle()});
  if (is_ready()) {
    if (hub.listeners <= ready_.listeners.size()) return answer_with_copies(request, server);
    Hub more{.tun_name = hub_.tun_name,
             .listeners = static_cast<std::uint16_t>(hub.listeners - ready_.listeners.size()),
             .is_again = true};
    return process_->client().request(std::move(more), [this, request, server](Reply reply) {
      on_set_up(request, server, std::move(reply));
    });
  }
  if (process_)
    return outbox_.reply(request, Failed{.error = EALREADY, .text = "the hub is being set up"});
  auto started = HubProcess::start();
  if (!started) return outbox_.reply(request, Failed{.error = EPERM, .text = started.error()});
  begin(std::move(*started));
  hub_ = hub;
  process_->client().request(std::move(hub), [this, request, server](Reply reply) {
    on_set_up(request, server, std::move(reply));
  });
}

void PrivateNetwork::on_set_up(std::uint64_t request, std::uint64_t server, Reply answer) {
  auto* ready = std::get_if<HubReady>(&answer);
  if (ready == nullptr) {
    // A first set-up that failed may be tried again, from the start.
    if (!is_set_up_ && process_) ::kill(process_->pid(), SIGKILL);
    return reply(request, server, std::move(answer));
  }
  if (is_set_up_) {
    for (Descriptor& one : ready->listeners) ready_.listeners.push_back(std::move(one));
  } else {
    ready_ = std::move(*ready);
    is_set_up_ = true;
  }
  answer_with_copies(request, server);
}

void PrivateNetwork::answer_with_copies(std::uint64_t request, std::uint64_t server) {
  reply(request, server, copy_of(ready_));
}

void PrivateNetwork::forward(std::uint64_t request, Request what) {
  if (!is_ready())
    return outbox_.reply(request, Failed{.error = ENOTCONN, .text = "there is no hub"});
  process_->client().request(std::move(what), [this, request, server = server_](Reply answer) {
    reply(request, server, std::move(answer));
  });
}

void PrivateNetwork::attach(Attach attach, Client::OnReply on_reply) {
  if (!is_ready()) return on_reply(Failed{.error = ENOTCONN, .text = "there is no hub"});
  const std::string machine = attach.machine;
  const IpAddress address = attach.address;
  process_->client().request(std::move(attach),
                             [this, machine, address, on_reply = std::move(on_reply)](Reply reply) {
                               if (const auto* attached = std::get_if<Attached>(&reply))
                                 machines_[machine] = {.address = address,
                                                       .address_v4 = attached->address_v4,
                                                       .network = copy_of(attached->network)};
                               on_reply(std::move(reply));
                             });
}

void PrivateNetwork::detach(const std::string& machine) {
  if (machines_.erase(machine) == 0 || !process_) return;
  process_->client().request(Detach{.machine = machine}, [](const Reply&) {});
}

void PrivateNetwork::on_readable() {
  if (!process_) return;
  process_->client().on_readable();  // closed: it has died, and its exit is about to be seen
}

bool PrivateNetwork::on_exit(pid_t pid, TimePoint now) {
  if (!process_ || process_->pid() != pid) return false;
  process_->release();
  on_readable();  // what it said last; then everything asked of it fails
  if (is_set_up_) {
    restart_at_ = restarts_.take(now);
    advance(now);
  } else {
    process_.reset();
  }
  return true;
}

// A hub that dies of its requests is not started as fast as it can die.
void PrivateNetwork::advance(TimePoint now) {
  if (now < restart_at_) return;
  restart_at_ = kNever;
  restart();
}

void PrivateNetwork::restart() {
  auto started = HubProcess::restart(std::move(*process_));
  if (!started) {
    process_.reset();
    is_set_up_ = false;
    return;
  }
  begin(std::move(*started));
  const auto ignore = [](const Reply&) {};
  process_->client().request(Hub{.tun_name = hub_.tun_name, .listeners = 0, .is_again = true},
                             ignore);
  for (const auto& [id, machine] : machines_)
    process_->client().request(Attach{.machine = id,
                                      .address = machine.address,
                                      .address_v4 = machine.address_v4,
                                      .network = copy_of(machine.network)},
                               ignore);
}

}  // namespace rooster::keeper
