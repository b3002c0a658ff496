#include "tunnel/device_loop.hpp"

#include "tunnel/device_loop_parts.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include <fcntl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

namespace rooster::tunnel {
namespace {

using namespace std::chrono_literals;

constexpr int kRoundsPerTurn = 4;                 // of one source, then others get their turn
constexpr std::size_t kFlushBytes = 4 * 65'000;   // some full sends, still in the cache
constexpr std::size_t kPauseBytes = 1024 * 1024;  // queued: the stack waits
constexpr auto kLook = 2s;                        // how often the clocks are compared
constexpr auto kGap = 10s;                        // longer without a look: we slept
constexpr auto kWallJump = 1s;
constexpr int kFlushRounds = 8;  // events whose hooks make more output

Descriptor make_timer() {
  Descriptor timer(::timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!timer) throw std::system_error(errno, std::generic_category(), "timerfd_create");
  return timer;
}

}  // namespace

Moment system_moment() {
  timespec boot{};
  clock_gettime(CLOCK_BOOTTIME, &boot);
  return {TimePoint(std::chrono::seconds(boot.tv_sec) + std::chrono::nanoseconds(boot.tv_nsec)),
          std::chrono::system_clock::now()};
}

DeviceLoop::DeviceLoop(Loop& loop, Device& device, PacketPort& port, DeviceLoopOptions options)
    : loop_(loop),
      device_(device),
      port_(port),
      options_(std::move(options)),
      gate_(std::move(options_.gate)),
      group_(loop),
      port_ready_(std::make_unique<Pollable>(loop, duplicate(port.fd()))),
      timer_(std::make_unique<Pollable>(loop, make_timer())),
      last_look_(options_.clock()) {}

DeviceLoop::~DeviceLoop() = default;

void DeviceLoop::add_socket(Descriptor socket) {
  auto outer = std::make_shared<Outer>(loop_, std::move(socket));
  auto& place = outer->socket.is_v4() ? v4_ : v6_;
  if (place && place->waiter != nullptr) place->waiter->interrupt(Fault::Interrupted);
  place = outer;
  group_.spawn(serve_socket(std::move(outer)));
}

std::uint16_t DeviceLoop::listen_port() const {
  if (v4_) return v4_->socket.local().port;
  return v6_ ? v6_->socket.local().port : 0;
}

void DeviceLoop::start() {
  group_.spawn(serve_port());
  group_.spawn(serve_timer());
  flush();
}

void DeviceLoop::stop(std::move_only_function<void()> done) {
  stopping_ = true;
  group_.interrupt_all(Fault::Interrupted);
  group_.when_empty(std::move(done));
}

// ---- in

// Datagrams of one piece, as many as came.
void DeviceLoop::take_burst(const UdpBurst& burst, Moment now) {
  const TunnelEndpoint from = TunnelEndpoint::udp(burst.path.remote, burst.path.local);
  for (std::size_t at = 0; at < burst.bytes.size(); at += burst.segment_bytes) {
    const std::size_t bytes = std::min(burst.segment_bytes, burst.bytes.size() - at);
    take_datagram(burst.bytes.subspan(at, bytes), from, now);
  }
}

PeerId DeviceLoop::take_datagram(std::span<std::uint8_t> datagram, const TunnelEndpoint& from,
                                 Moment now) {
  const Received received = device_.receive(datagram, from, now, output_);
  if (received.packet.empty()) return received.peer;
  switch (gate_.judge(received.peer, received.packet, now.boot)) {
    case PacketGate::Verdict::Drop:
      break;
    case PacketGate::Verdict::Answer:
      device_.send(gate_.answer(), now, output_);
      break;
    case PacketGate::Verdict::Pass:
      if (!hooks_.packet || !hooks_.packet(received.peer, received.packet)) {
        packets_.push_back(received.packet);
      }
  }
  return received.peer;
}

// The burst's packets, while its memory is still what it was.
void DeviceLoop::give_packets() {
  if (packets_.empty()) return;
  counters_.packets_in += packets_.size();
  port_.give(packets_);
  packets_.clear();
}

Task<> DeviceLoop::serve_socket(std::shared_ptr<Outer> outer) {
  Waiter waiter(group_);
  outer->waiter = &waiter;
  while (!stopping_) {
    std::uint8_t bits = Pollable::kReadable;
    if (!outer->queue.empty()) bits |= Pollable::kWritable;
    const Woke woke = co_await waiter.wait(kNever, {&outer->ready, bits});
    if (woke == Woke::Interrupted) break;
    if (!outer->queue.empty() && outer->ready.is(Pollable::kWritable)) drain(*outer);
    for (int round = 0; round < kRoundsPerTurn && outer->ready.is(Pollable::kReadable); ++round) {
      const auto bursts = outer->socket.receive();
      if (bursts.empty()) {
        outer->ready.clear(Pollable::kReadable);
        break;
      }
      const Moment at = now();
      for (const UdpBurst& burst : bursts) take_burst(burst, at);
      give_packets();
      flush();
    }
    if (outer->ready.is(Pollable::kReadable)) waiter.notify();  // the others' turn first
  }
  outer->waiter = nullptr;
  co_return {};
}

// ---- out

bool DeviceLoop::is_congested() const {
  return (v4_ && v4_->queue.bytes() > kPauseBytes) || (v6_ && v6_->queue.bytes() > kPauseBytes);
}

void DeviceLoop::send_packets(std::span<const Packet> packets) {
  const Moment at = now();
  for (const Packet packet : packets) {
    if (!PacketGate::may_leave(packet)) {
      ++counters_.not_ours;
      continue;
    }
    const Sent sent = device_.send(packet, at, output_);
    if (sent == Sent::NoRoute || sent == Sent::Invalid) {
      ++counters_.not_ours;
    } else {
      ++counters_.packets_out;
    }
    if (output_.size() >= kFlushBytes) flush();
  }
  flush();
}

Task<> DeviceLoop::serve_port() {
  Waiter waiter(group_);
  port_waiter_ = &waiter;
  while (!stopping_) {
    paused_ = is_congested();
    const Interest packets{port_ready_.get(), Pollable::kReadable};
    const Woke woke = co_await waiter.wait(kNever, paused_ ? Interest{} : packets);
    if (woke == Woke::Interrupted) break;
    for (int round = 0; round < kRoundsPerTurn && !is_congested(); ++round) {
      const auto taken = port_.take();
      if (taken.empty()) {
        port_ready_->clear(Pollable::kReadable);
        break;
      }
      send_packets(taken);
    }
    if (port_ready_->is(Pollable::kReadable) && !is_congested()) waiter.notify();
  }
  port_waiter_ = nullptr;
  co_return {};
}

Sent DeviceLoop::send_packet(std::span<const std::uint8_t> packet) {
  const Sent sent = device_.send(packet, now(), output_);
  flush();
  return sent;
}

void DeviceLoop::send_datagram(const TunnelEndpoint& to, std::span<const std::uint8_t> datagram) {
  send_to({}, to, datagram, datagram.size());
  flush();
}

void DeviceLoop::send_to(PeerId peer, const TunnelEndpoint& to, std::span<const std::uint8_t> bytes,
                         std::size_t segment_bytes) {
  if (to.kind == TunnelEndpoint::Kind::Ws) {
    const auto found = websockets_.find(to.ws);
    if (found == websockets_.end()) {
      ++counters_.no_socket;
      return;
    }
    for (std::size_t at = 0; at < bytes.size(); at += segment_bytes) {
      found->second->transport->send(bytes.subspan(at, std::min(segment_bytes, bytes.size() - at)));
    }
    if (std::find(unflushed_.begin(), unflushed_.end(), to.ws) == unflushed_.end()) {
      unflushed_.push_back(to.ws);
    }
    return;
  }
  const std::shared_ptr<Outer>& outer = to.remote.address.is_v4() ? v4_ : v6_;
  if (to.kind == TunnelEndpoint::Kind::None || !outer) {
    ++counters_.no_socket;
    return;
  }
  std::size_t done = 0;
  if (outer->queue.empty()) {
    UdpPath path{to.local, to.remote};
    done = outer->socket.send(bytes, segment_bytes, path, now().boot);
    if (path.local != to.local) clear_source(peer, to);
    if (done == bytes.size()) return;
    outer->ready.clear(Pollable::kWritable);
    outer->ready.watch_writable();
    if (outer->waiter != nullptr) outer->waiter->notify();
  }
  outer->queue.push(peer, to, bytes.subspan(done), segment_bytes);
}

// The address that `peer` is answered from has gone; the kernel chooses until it writes again.
void DeviceLoop::clear_source(PeerId peer, const TunnelEndpoint& to) {
  const auto statistics = device_.statistics(peer, now());
  if (!statistics || statistics->endpoint != to) return;
  PeerChange change;
  change.endpoint = TunnelEndpoint::udp(to.remote);
  device_.update_peer(peer, change, now());
}

void DeviceLoop::drain(Outer& outer) {
  while (!outer.queue.empty()) {
    const SendQueue::Run& run = outer.queue.front();
    const auto bytes = outer.queue.next();
    UdpPath path{run.to.local, run.to.remote};
    const std::size_t done = outer.socket.send(bytes, run.segment_bytes, path, now().boot);
    const bool all = done == bytes.size();
    outer.queue.sent(done);
    if (!all) {
      outer.ready.clear(Pollable::kWritable);
      return;
    }
  }
  if (paused_ && port_waiter_ != nullptr) port_waiter_->notify();
}

void DeviceLoop::flush() {
  if (flushing_) return;  // a hook's calls: the loop below sees what they made
  flushing_ = true;
  for (int round = 0; round < kFlushRounds && !output_.empty(); ++round) {
    for (const Output::Batch& batch : output_.batches()) {
      send_to(batch.peer, batch.to, output_.bytes_of(batch), batch.segment_bytes);
    }
    const std::vector<PeerEvent> events(output_.events().begin(), output_.events().end());
    output_.clear();
    if (!hooks_.peer_event) continue;
    for (const PeerEvent& event : events) hooks_.peer_event(event);
  }
  for (const std::uint32_t number : unflushed_) {
    const auto found = websockets_.find(number);
    if (found != websockets_.end()) found->second->transport->flush();
  }
  unflushed_.clear();
  flushing_ = false;
  arm(std::min(device_.next_tick(), last_look_.boot + kLook));
}

// ---- time

void DeviceLoop::arm(TimePoint when) {
  if (when >= armed_) return;  // the timer comes early then, which costs less than setting it
  armed_ = when;
  // Relative to the options' clock, which in tests is not the kernel's.
  const Duration wait = std::max<Duration>(when - now().boot, 1us);
  itimerspec spec{};
  const auto seconds = std::chrono::floor<std::chrono::seconds>(wait);
  spec.it_value.tv_sec = seconds.count();
  spec.it_value.tv_nsec = std::chrono::nanoseconds(wait - seconds).count();
  ::timerfd_settime(timer_->fd(), 0, &spec, nullptr);
}

// Sleep shows as a gap since the last look, a set clock or a restored snapshot as a step between
// the two clocks.
void DeviceLoop::look_at_clock(Moment now) {
  const Duration gap = now.boot - last_look_.boot;
  const Duration wall = now.wall - last_look_.wall;
  const Duration step = wall > gap ? wall - gap : gap - wall;
  last_look_ = now;
  if (gap <= kGap && step <= kWallJump) return;
  ++counters_.clock_jumps;
  device_.drop_sessions(now);
  if (hooks_.clock_jumped) hooks_.clock_jumped(gap > kGap ? gap : Duration::zero());
}

void DeviceLoop::poke() {
  const Moment at = now();
  if (at.boot - last_look_.boot >= kLook) {
    look_at_clock(at);
    gate_.forget_idle(at.boot);
  }
  device_.tick(at, output_);
  flush();
}

Task<> DeviceLoop::serve_timer() {
  Waiter waiter(group_);
  while (!stopping_) {
    const Woke woke = co_await waiter.wait(kNever, {timer_.get(), Pollable::kReadable});
    if (woke == Woke::Interrupted) break;
    std::uint64_t expirations = 0;
    (void)!::read(timer_->fd(), &expirations, sizeof expirations);
    timer_->clear(Pollable::kReadable);
    armed_ = kNever;
    poke();
  }
  co_return {};
}

DeviceLoopCounters DeviceLoop::counters() const {
  DeviceLoopCounters all = counters_;
  all.stack_dropped = port_.dropped();
  for (const auto& outer : {v4_, v6_}) {
    if (!outer) continue;
    const UdpSocket::Counters& udp = outer->socket.counters();
    all.queue_dropped += outer->queue.dropped();
    all.udp.received += udp.received;
    all.udp.sent += udp.sent;
    all.udp.failed += udp.failed;
    all.udp.segment_refused += udp.segment_refused;
    all.udp.source_cleared += udp.source_cleared;
  }
  return all;
}

}  // namespace rooster::tunnel
