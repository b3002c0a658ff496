// PrivateNetwork: the keeper's side of its hub process. It makes the hub when the first server asks
// for it, keeps what it gave for later servers, and puts another process in a dead one's place.
#pragma once

#include "keeper/hub_process.hpp"
#include "keeper/outbox.hpp"
#include "keeper/poller.hpp"
#include "keeper/restart_budget.hpp"

#include <functional>
#include <map>
#include <optional>
#include <string>

namespace rooster::keeper {

class PrivateNetwork {
 public:
  PrivateNetwork(Poller& poller, Outbox& outbox);
  ~PrivateNetwork();
  PrivateNetwork(const PrivateNetwork&) = delete;
  PrivateNetwork& operator=(const PrivateNetwork&) = delete;

  /// "" or why there can be no hub; found out once.
  const std::string& obstacle();
  /// Machines can be attached.
  bool is_ready() const { return process_.has_value() && is_set_up_; }

  void set_up(std::uint64_t request, Hub hub);
  /// Catch and Sockets: the hub's reply becomes the server's.
  void forward(std::uint64_t request, Request what);
  void attach(Attach attach, Client::OnReply on_reply);
  /// Its namespace ends with its last descriptor. Nothing, where there is none.
  void detach(const std::string& machine);

  /// Of the namespaces' owner; -1: the keeper owns them itself.
  int user_namespace() const { return process_ ? process_->user_namespace() : -1; }

  void on_readable();
  /// True: it was the hub process, and another one serves in its place, now or when it is due.
  bool on_exit(pid_t pid, TimePoint now);
  void advance(TimePoint now);
  TimePoint next_due() const { return restart_at_; }
  void on_server_gone() { ++server_; }

 private:
  struct Machine {
    IpAddress address, address_v4;
    Descriptor network;
  };
  void reply(std::uint64_t request, std::uint64_t server, Reply reply);
  void on_set_up(std::uint64_t request, std::uint64_t server, Reply reply);
  void answer_with_copies(std::uint64_t request, std::uint64_t server);
  void begin(HubProcess process);
  void restart();

  Poller& poller_;
  Outbox& outbox_;
  std::optional<HubProcess> process_;
  bool is_set_up_ = false;
  RestartBudget restarts_;
  TimePoint restart_at_ = kNever;
  Hub hub_;
  HubReady ready_;  // ours; servers get copies
  std::map<std::string, Machine> machines_;
  std::optional<std::string> obstacle_;
  std::uint64_t server_ = 0;  // which one asks: a gone one's replies are dropped
};

}  // namespace rooster::keeper
