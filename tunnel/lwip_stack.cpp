#include "tunnel/lwip_stack.hpp"

#include "tunnel/lwip_connection.hpp"
#include "tunnel/lwip_port.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <optional>
#include <utility>

#include <lwip/init.h>
#include <lwip/ip6.h>
#include <lwip/netif.h>
#include <lwip/priv/tcp_priv.h>
#include <lwip/tcp.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace rooster::tunnel {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t kMaxHalfOpen = 4096;
constexpr std::size_t kHeaderBytes = 40;  // of IPv6
constexpr std::size_t kTcpHeaderBytes = 20;
constexpr std::size_t kMaxRefusals = 100;  // "port unreachable" a second
// The listener's port while no SYN is being read; lwIP wants one.
constexpr std::uint16_t kIdlePort = 1;

ip6_addr_t to_lwip(const IpAddress& address) {
  ip6_addr_t out{};
  std::memcpy(out.addr, address.bytes().data(), sizeof out.addr);
  return out;
}

Endpoint from_lwip(const ip6_addr_t& address, std::uint16_t port) {
  std::array<std::uint8_t, 16> bytes;
  std::memcpy(bytes.data(), address.addr, bytes.size());
  return {IpAddress::from_bytes(bytes), port};
}

std::uint16_t read_u16(const std::uint8_t* at) {
  return static_cast<std::uint16_t>(at[0] << 8 | at[1]);
}

IpAddress read_address(const std::uint8_t* at) {
  std::array<std::uint8_t, 16> bytes;
  std::memcpy(bytes.data(), at, bytes.size());
  return IpAddress::from_bytes(bytes);
}

// Loopback, link-local, multicast or unset: no address of a private network.
bool is_unroutable(const IpAddress& address) {
  const auto& bytes = address.bytes();
  return bytes[0] == 0xff || (bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80) || address.is_v4() ||
         address.is_loopback() || address == IpAddress();
}

class LwipStack final : public Stack {
 public:
  LwipStack(Loop& loop, const LwipOptions& options, Descriptor event, Descriptor timer);
  ~LwipStack() override;

  const char* name() const override { return "lwip"; }
  Task<Dialled> dial(Endpoint remote, Waiter& waiter, TimePoint deadline) override;
  Result<> listen(Inbound inbound) override;
  PacketPort& packets() override { return port_; }

  static inline std::atomic<bool> is_alive = false;  // lwIP's state is the process's

 private:
  static err_t set_up(netif* interface);
  static err_t output(netif* interface, pbuf* packet, const ip6_addr_t* to);
  static err_t on_accepted(void* self, tcp_pcb* pcb, err_t error);
  static err_t on_opened(void* connection, tcp_pcb* pcb, err_t error);
  static err_t on_syn(std::uint8_t id, tcp_pcb_listen* listener, tcp_pcb* pcb);
  static void on_freed(std::uint8_t id, void* self);
  static constexpr tcp_ext_arg_callbacks kHalfOpen{on_freed, on_syn};

  bool input(Packet packet);
  bool may_enter(Packet packet);
  bool admit_tcp(Packet packet, const IpAddress& from, const IpAddress& to);
  bool admit_echo(Packet packet, const IpAddress& from, const IpAddress& to);
  bool may_refuse_datagram();
  bool is_full() const;
  void send_again();
  Task<> serve_timer();
  void keep_ticking();
  void set_timer(std::chrono::milliseconds interval);
  Result<Dialled> bridge(std::unique_ptr<LwipConnection> connection);

  Loop& loop_;
  LwipOptions options_;
  LwipMemory memory_;
  TaskGroup group_;
  Pollable timer_;  // in the loop's set: exact whichever way the loop runs
  bool is_ticking_ = false;
  netif interface_{};
  LwipPort port_;
  std::optional<Inbound> inbound_;
  tcp_pcb* listener_ = nullptr;
  std::uint8_t half_open_id_ = 0;
  std::size_t half_open_ = 0;
  std::size_t refusals_ = 0;
  TimePoint refusals_since_{};
};

LwipStack::LwipStack(Loop& loop, const LwipOptions& options, Descriptor event, Descriptor timer)
    : loop_(loop),
      options_(options),
      group_(loop),
      timer_(loop, std::move(timer)),
      port_(
          std::move(event), [this](Packet packet) { return input(packet); },
          [this] { send_again(); }) {
  static const std::uint8_t id = [] {  // lwIP can be set up once only
    lwip_init();
    return tcp_ext_arg_alloc_id();
  }();
  half_open_id_ = id;
  netif_add(&interface_, this, set_up, ip6_input);
  netif_set_default(&interface_);
  netif_set_link_up(&interface_);
  netif_set_up(&interface_);
  interface_.ip6_addr[0] = to_lwip(options.address);
  interface_.ip6_addr_state[0] = IP6_ADDR_PREFERRED;
  group_.spawn(serve_timer());
}

LwipStack::~LwipStack() {
  inbound_.reset();
  group_.interrupt_all(Fault::Interrupted);
  for (int turn = 0; turn < 1000 && group_.size() > 0; ++turn) loop_.run_for(0ms);
  if (listener_ != nullptr) tcp_close(listener_);
  while (tcp_active_pcbs != nullptr) tcp_abort(tcp_active_pcbs);
  while (tcp_tw_pcbs != nullptr) tcp_abort(tcp_tw_pcbs);
  netif_remove(&interface_);
  is_alive = false;
}

err_t LwipStack::set_up(netif* interface) {
  auto& self = *static_cast<LwipStack*>(interface->state);
  interface->name[0] = 'w';
  interface->name[1] = 'g';
  interface->output_ip6 = output;
  interface->mtu = self.options_.mtu;
#if LWIP_ND6_ALLOW_RA_UPDATES
  interface->mtu6 = self.options_.mtu;
#endif
  return ERR_OK;
}

err_t LwipStack::output(netif* interface, pbuf* packet, const ip6_addr_t*) {
  return static_cast<LwipStack*>(interface->state)->port_.push(*packet) ? ERR_OK : ERR_MEM;
}

// ---- connections out

err_t LwipStack::on_opened(void* connection, tcp_pcb*, err_t) {
  static_cast<LwipConnection*>(connection)->opened();
  return ERR_OK;
}

Task<Dialled> LwipStack::dial(Endpoint remote, Waiter& waiter, TimePoint deadline) {
  const auto refused = [](Fault fault, const char* why) { return Error(fault, Reached::No, why); };
  if (is_full()) co_return refused(Fault::DescriptorsExhausted, "too many connections in lwIP");
  const ip6_addr_t own = to_lwip(options_.address);
  const ip6_addr_t to = to_lwip(remote.address);
  tcp_pcb* const pcb = tcp_new_ip_type(IPADDR_TYPE_V6);
  if (pcb == nullptr) co_return refused(Fault::Internal, "out of memory in lwIP");
  auto connection =
      std::make_unique<LwipConnection>(memory_, *pcb, LwipConnection::State::Connecting);
  connection->watch(&waiter);
  if (tcp_bind(pcb, &own, 0) != ERR_OK || tcp_connect(pcb, &to, remote.port, on_opened) != ERR_OK) {
    co_return refused(Fault::UpstreamRefused, "lwIP has no way there");
  }
  keep_ticking();
  while (connection->state() == LwipConnection::State::Connecting) {
    const Woke woke = co_await waiter.wait(deadline);
    if (woke == Woke::Interrupted) co_return Error(waiter.interrupted_by(), Reached::No);
    if (woke == Woke::Deadline) break;
  }
  connection->watch(nullptr);
  switch (connection->state()) {
    case LwipConnection::State::Open:
      co_return bridge(std::move(connection));
    case LwipConnection::State::Refused:
      co_return refused(Fault::UpstreamRefused, "the connection was reset");
    case LwipConnection::State::Connecting:
    case LwipConnection::State::Lost:
      break;
  }
  co_return refused(Fault::UpstreamConnectTimeout, "no answer");
}

Result<Dialled> LwipStack::bridge(std::unique_ptr<LwipConnection> connection) {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) {
    return std::unexpected(
        Error(Fault::DescriptorsExhausted, Reached::No, "no descriptors for a socketpair"));
  }
  const tcp_pcb& pcb = *connection->pcb();
  auto was_reset = std::make_shared<std::atomic<bool>>(false);
  Dialled dialled{Descriptor(fds[0]), from_lwip(pcb.local_ip, pcb.local_port),
                  from_lwip(pcb.remote_ip, pcb.remote_port), was_reset};
  group_.spawn(LwipConnection::carry(std::move(connection), group_, Descriptor(fds[1]),
                                     std::move(was_reset)));
  return dialled;
}

bool LwipStack::is_full() const {
  return memory_.connections >= options_.max_connections;
}

// ---- connections in

// One listener for every port: a SYN that is wanted sets its port before lwIP looks for it
// (admit_tcp), as it sets the interface's second address.
Result<> LwipStack::listen(Inbound inbound) {
  if (listener_ == nullptr) {
    tcp_pcb* const pcb = tcp_new_ip_type(IPADDR_TYPE_V6);
    if (pcb == nullptr || tcp_bind(pcb, IP6_ADDR_ANY, kIdlePort) != ERR_OK) {
      if (pcb != nullptr) tcp_close(pcb);
      return fail(Fault::Internal, "lwIP could not listen");
    }
    listener_ = tcp_listen(pcb);
    if (listener_ == nullptr) {
      tcp_close(pcb);
      return fail(Fault::Internal, "lwIP could not listen");
    }
    tcp_arg(listener_, this);
    tcp_accept(listener_, on_accepted);
    tcp_ext_arg_set_callbacks(listener_, half_open_id_, &kHalfOpen);
  }
  inbound_ = std::move(inbound);
  return {};
}

err_t LwipStack::on_syn(std::uint8_t id, tcp_pcb_listen* listener, tcp_pcb* pcb) {
  auto& self = *static_cast<LwipStack*>(listener->callback_arg);
  if (self.half_open_ >= kMaxHalfOpen) return ERR_MEM;
  ++self.half_open_;
  tcp_ext_arg_set_callbacks(pcb, id, &kHalfOpen);
  tcp_ext_arg_set(pcb, id, &self);
  return ERR_OK;
}

void LwipStack::on_freed(std::uint8_t, void* self) {
  if (self != nullptr) --static_cast<LwipStack*>(self)->half_open_;
}

err_t LwipStack::on_accepted(void* argument, tcp_pcb* pcb, err_t error) {
  auto& self = *static_cast<LwipStack*>(argument);
  if (error != ERR_OK || pcb == nullptr) return ERR_VAL;
  tcp_ext_arg_set(pcb, self.half_open_id_, nullptr);  // on_freed counts it no more
  --self.half_open_;
  if (self.is_full() || !self.inbound_) {
    tcp_abort(pcb);
    return ERR_ABRT;
  }
  auto dialled = self.bridge(
      std::make_unique<LwipConnection>(self.memory_, *pcb, LwipConnection::State::Open));
  if (!dialled) return ERR_ABRT;  // the connection was reset as it went
  self.inbound_->accepted(std::move(*dialled));
  return ERR_OK;
}

// ---- packets in

bool LwipStack::input(Packet packet) {
  if (!may_enter(packet)) return false;
  pbuf* const copy = pbuf_alloc(PBUF_RAW, static_cast<std::uint16_t>(packet.size()), PBUF_RAM);
  if (copy == nullptr) return false;
  pbuf_take(copy, packet.data(), static_cast<std::uint16_t>(packet.size()));
  interface_.input(copy, &interface_);
  if (listener_ != nullptr) listener_->local_port = kIdlePort;
  keep_ticking();
  return true;
}

bool LwipStack::may_enter(Packet packet) {
  if (packet.size() < kHeaderBytes || packet.size() > PacketPort::kMaxPacketBytes) return false;
  if (packet[0] >> 4 != 6 || kHeaderBytes + read_u16(&packet[4]) > packet.size()) return false;
  const IpAddress from = read_address(&packet[8]);
  const IpAddress to = read_address(&packet[24]);
  if (is_unroutable(from) || is_unroutable(to)) return false;
  const bool is_ours = to == options_.address;
  if (!is_ours && !inbound_) return false;
  if (!is_ours) {
    // Any destination is ours for as long as its packet is read. Written raw: lwIP's own setter
    // would reset the connections that use the earlier one.
    interface_.ip6_addr[1] = to_lwip(to);
    interface_.ip6_addr_state[1] = IP6_ADDR_VALID;
  }
  switch (packet[6]) {
    case IP6_NEXTH_TCP:
      return admit_tcp(packet, from, to);
    case IP6_NEXTH_ICMP6:
      return admit_echo(packet, from, to);
    case IP6_NEXTH_UDP:
      return packet.size() >= kHeaderBytes + 8 && may_refuse_datagram();
    default:  // extension headers and fragments too
      return false;
  }
}

bool LwipStack::admit_tcp(Packet packet, const IpAddress& from, const IpAddress& to) {
  if (packet.size() < kHeaderBytes + kTcpHeaderBytes) return false;
  const std::uint8_t* const tcp = &packet[kHeaderBytes];
  const std::uint8_t flags = tcp[13];
  const bool has_data = packet.size() > kHeaderBytes + std::size_t{tcp[12]} / 16 * 4;
  if (has_data && memory_.received_bytes > LwipMemory::kMaxReceivedBytes) return false;
  if ((flags & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN || listener_ == nullptr) return true;
  const Endpoint local{to, read_u16(tcp + 2)};
  const Endpoint remote{from, read_u16(tcp)};
  if (inbound_ && inbound_->is_wanted(local, remote)) {
    listener_->local_port = local.port;
    return true;
  }
  std::uint32_t sequence;
  std::memcpy(&sequence, tcp + 4, sizeof sequence);
  const ip6_addr_t local_address = to_lwip(to);
  const ip6_addr_t remote_address = to_lwip(from);
  tcp_rst(nullptr, 0, lwip_ntohl(sequence) + 1, &local_address, &remote_address, local.port,
          remote.port);
  return false;
}

bool LwipStack::admit_echo(Packet packet, const IpAddress& from, const IpAddress& to) {
  if (packet.size() < kHeaderBytes + 8) return false;
  if (packet[kHeaderBytes] == ICMP6_TYPE_PTB) return true;
  if (packet[kHeaderBytes] != ICMP6_TYPE_EREQ) return false;
  return to == options_.address || inbound_->is_wanted({to, 0}, {from, 0});
}

bool LwipStack::may_refuse_datagram() {
  if (loop_.now() - refusals_since_ > 1s) {
    refusals_since_ = loop_.now();
    refusals_ = 0;
  }
  return refusals_++ < kMaxRefusals;
}

// ---- time

void LwipStack::keep_ticking() {
  const bool is_needed = tcp_active_pcbs != nullptr || tcp_tw_pcbs != nullptr;
  if (is_needed == is_ticking_) return;
  is_ticking_ = is_needed;
  set_timer(std::chrono::milliseconds(is_needed ? TCP_TMR_INTERVAL : 0));
}

void LwipStack::set_timer(std::chrono::milliseconds interval) {
  itimerspec when{};
  when.it_interval.tv_nsec = std::chrono::nanoseconds(interval).count();
  when.it_value = when.it_interval;
  ::timerfd_settime(timer_.fd(), 0, &when, nullptr);
}

Task<> LwipStack::serve_timer() {
  Waiter waiter(group_);
  while (co_await waiter.wait(kNever, {&timer_, Pollable::kReadable}) != Woke::Interrupted) {
    std::uint64_t ticks = 0;
    (void)!::read(timer_.fd(), &ticks, sizeof ticks);
    timer_.clear(Pollable::kReadable);
    // A busy loop is a little late; a process that was stopped is not made up for.
    for (ticks = std::min<std::uint64_t>(ticks, 4); ticks > 0; --ticks) tcp_tmr();
    keep_ticking();
  }
  co_return {};
}

// After the ring was full: whatever lwIP could not put into it goes now.
void LwipStack::send_again() {
  for (tcp_pcb* pcb = tcp_active_pcbs; pcb != nullptr; pcb = pcb->next) tcp_output(pcb);
}

}  // namespace

bool is_lwip_built_in() {
  return true;
}

Result<std::unique_ptr<Stack>> make_lwip_stack(Loop& loop, const LwipOptions& options) {
  if (LwipStack::is_alive.exchange(true)) {
    return fail(Fault::Internal, "there is one lwIP stack in a process, and it is in use");
  }
  Descriptor event(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  Descriptor timer(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!event || !timer) {
    LwipStack::is_alive = false;
    return fail(Fault::Internal, "no descriptor for lwIP");
  }
  return std::make_unique<LwipStack>(loop, options, std::move(event), std::move(timer));
}

}  // namespace rooster::tunnel
