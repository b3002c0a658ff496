#include "tunnel/netns_stack.hpp"

#include "keeper/hub_process.hpp"
#include "tunnel/tun_port.hpp"

#include <cerrno>
#include <cstring>
#include <deque>
#include <optional>
#include <utility>
#include <variant>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace rooster::tunnel {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kStock = 32;  // sockets that are there before they are wanted
constexpr std::size_t kRefillAt = 16;
// A peer that is silent for longer is lost (decision of the gateway's peer_timeout).
constexpr unsigned kUserTimeoutMilliseconds = 15 * 60 * 1000;

class NetnsStack final : public Stack {
 public:
  NetnsStack(Loop& loop, keeper::HubProcess hub, std::unique_ptr<TunPort> port)
      : loop_(loop), hub_(std::move(hub)), port_(std::move(port)) {
    watch_.emplace(loop, hub_.client().fd(), [this] { readable(); }, [this] { writable(); });
    refill();
  }

  const char* name() const override { return "netns"; }
  PacketPort& packets() override { return *port_; }
  Result<> listen(Inbound) override {
    return fail(Fault::Internal, "a namespace's connections are accepted by its own listeners");
  }
  Task<Dialled> dial(Endpoint remote, Waiter& waiter, TimePoint deadline) override;

 private:
  Task<Descriptor> socket(Waiter& waiter, TimePoint deadline);
  void refill();
  void keep(keeper::Reply reply);
  void readable();
  void writable();

  Loop& loop_;
  keeper::HubProcess hub_;
  std::unique_ptr<TunPort> port_;
  std::optional<Watch> watch_;
  std::deque<Descriptor> stock_;
  std::deque<Waiter*> wanting_;
  bool asked_ = false;
  std::string trouble_;
};

void NetnsStack::readable() {
  while (hub_.client().on_readable()) {
  }
  if (!hub_.client().is_open()) watch_.reset();
}

void NetnsStack::writable() {
  hub_.client().on_writable();
  watch_->want_writable(hub_.client().wants_write());
}

// Asks for sockets ahead of need: a dial costs no round trip to the hub then.
void NetnsStack::refill() {
  if (asked_ || stock_.size() > kRefillAt) return;
  asked_ = true;
  keeper::Sockets wanted;
  wanted.count = static_cast<std::uint16_t>(kStock - stock_.size());
  hub_.client().request(std::move(wanted), [this](keeper::Reply reply) { keep(std::move(reply)); });
  if (watch_) watch_->want_writable(hub_.client().wants_write());
}

void NetnsStack::keep(keeper::Reply reply) {
  asked_ = false;
  if (auto* made = std::get_if<keeper::SocketsMade>(&reply)) {
    for (Descriptor& socket : made->sockets) stock_.push_back(std::move(socket));
  } else if (const auto* failed = std::get_if<keeper::Failed>(&reply)) {
    trouble_ = failed->text.empty() ? std::strerror(failed->error) : failed->text;
  }
  for (Waiter* waiter : wanting_) waiter->notify();
}

Task<Descriptor> NetnsStack::socket(Waiter& waiter, TimePoint deadline) {
  while (stock_.empty()) {
    trouble_.clear();
    refill();
    if (!asked_ && !trouble_.empty()) break;
    wanting_.push_back(&waiter);
    const Woke woke = co_await waiter.wait(deadline);
    std::erase(wanting_, &waiter);
    if (woke == Woke::Interrupted) co_return Error(waiter.interrupted_by(), Reached::No);
    if (woke == Woke::Deadline) break;
    if (!trouble_.empty()) break;
  }
  if (stock_.empty()) {
    const std::string why = trouble_.empty() ? "no answer in time" : trouble_;
    co_return Error(Fault::DescriptorsExhausted, Reached::No, "the hub process: " + why);
  }
  Descriptor socket = std::move(stock_.front());
  stock_.pop_front();
  refill();
  co_return socket;
}

Error dial_error(int reason, const Endpoint& remote) {
  const Fault fault = reason == ETIMEDOUT ? Fault::UpstreamConnectTimeout : Fault::UpstreamRefused;
  return Error(fault, Reached::No,
               "connect to " + remote.to_string() + ": " + std::strerror(reason));
}

Task<Dialled> NetnsStack::dial(Endpoint remote, Waiter& waiter, TimePoint deadline) {
  auto socket = co_await this->socket(waiter, deadline);
  if (!socket) co_return socket.error();
  const int on = 1;
  ::setsockopt(socket->get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(socket->get(), IPPROTO_TCP, TCP_USER_TIMEOUT, &kUserTimeoutMilliseconds,
               sizeof kUserTimeoutMilliseconds);
  sockaddr_storage address{};
  const socklen_t size = remote.to(address);
  if (::connect(socket->get(), reinterpret_cast<sockaddr*>(&address), size) != 0 &&
      errno != EINPROGRESS) {
    co_return dial_error(errno, remote);
  }
  Pollable connecting(loop_, std::move(*socket), 0);
  const Interest outcome{&connecting, Pollable::kWritable | Pollable::kBroken};
  while (!connecting.is(outcome.bits)) {
    const Woke woke = co_await waiter.wait(deadline, outcome);
    if (woke == Woke::Interrupted) co_return Error(waiter.interrupted_by(), Reached::No);
    if (woke == Woke::Deadline) co_return dial_error(ETIMEDOUT, remote);
  }
  int reason = 0;
  socklen_t reason_size = sizeof reason;
  ::getsockopt(connecting.fd(), SOL_SOCKET, SO_ERROR, &reason, &reason_size);
  if (reason != 0) co_return dial_error(reason, remote);
  sockaddr_storage local{};
  socklen_t local_size = sizeof local;
  ::getsockname(connecting.fd(), reinterpret_cast<sockaddr*>(&local), &local_size);
  co_return Dialled{connecting.release(), Endpoint::from(local), remote, nullptr};
}

}  // namespace

Result<std::unique_ptr<Stack>> make_netns_stack(Loop& loop, const NetnsOptions& options) {
  auto hub = keeper::HubProcess::start();
  if (!hub) return fail(Fault::Internal, hub.error());
  keeper::Hub wanted;
  wanted.tun_device = options.tun_device;
  wanted.tun_mtu = options.mtu;
  wanted.tun_offload = true;
  wanted.is_gateway = false;
  wanted.addresses = {options.address};
  keeper::Reply reply = hub->client().call(std::move(wanted));
  if (const auto* failed = std::get_if<keeper::Failed>(&reply)) {
    const std::string why = failed->text.empty() ? std::strerror(failed->error) : failed->text;
    return fail(Fault::Internal, why);
  }
  auto* ready = std::get_if<keeper::HubReady>(&reply);
  if (ready == nullptr || !ready->tun) {
    return fail(Fault::Internal, ready != nullptr && !ready->no_tun.empty()
                                     ? ready->no_tun
                                     : "the hub process gave no TUN device");
  }
  auto port = TunPort::create(std::move(ready->tun));
  if (!port) return fail(port.error());
  return std::make_unique<NetnsStack>(loop, std::move(*hub), std::move(*port));
}

}  // namespace rooster::tunnel
