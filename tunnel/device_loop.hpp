// DeviceLoop: a Device with its I/O, on one loop's thread.
//
//   UDP sockets, WebSockets -> Device::receive -> PacketGate -> PacketPort   (in)
//   PacketPort -> Device::send -> Output -> SendQueue or at once -> UDP sockets, WebSockets  (out)
//   timerfd(CLOCK_BOOTTIME) -> Device::tick, and a look whether the clock jumped
#pragma once

#include "core/loop.hpp"
#include "core/stream.hpp"
#include "tunnel/device.hpp"
#include "tunnel/packet_gate.hpp"
#include "tunnel/send_queue.hpp"
#include "tunnel/stack.hpp"
#include "tunnel/udp_socket.hpp"
#include "tunnel/websocket_transport.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace rooster::tunnel {

/// CLOCK_BOOTTIME and the wall clock, now.
Moment system_moment();

struct DeviceLoopOptions {
  GateRules gate{};
  std::function<Moment()> clock = system_moment;
};

/// What the owner is told, on the loop's thread. All may be unset; all may call the DeviceLoop.
struct DeviceHooks {
  std::move_only_function<void(const PeerEvent&)> peer_event;
  /// Time went on without us (sleep, a stopped process) for `slept`, or the wall clock was set:
  /// sessions have been dropped; resolve names and initiate anew.
  std::move_only_function<void(Duration slept)> clock_jumped;
  /// A packet that the gate passed. True: it is taken and does not go to the stack.
  std::move_only_function<bool(PeerId, Packet)> packet;
  std::move_only_function<void(std::uint32_t websocket, const Error& why)> websocket_ended;
};

struct DeviceLoopCounters {
  std::uint64_t packets_in = 0;   ///< given to the stack
  std::uint64_t packets_out = 0;  ///< taken from it and given to the device
  std::uint64_t not_ours = 0;     ///< of the stack's: multicast, link-local, nobody's destination
  std::uint64_t no_socket = 0;    ///< datagrams to a family or WebSocket that is not there
  std::uint64_t queue_dropped = 0;
  std::uint64_t stack_dropped = 0;
  std::uint64_t websocket_dropped = 0;
  std::uint64_t websockets_refused = 0;
  std::uint64_t clock_jumps = 0;
  UdpSocket::Counters udp{};
};

class DeviceLoop {
 public:
  /// WebSockets of one source (an IPv4 address or an IPv6 /64) at a time.
  static constexpr std::size_t kMaxWebsocketsPerSource = 4;
  static constexpr std::size_t kMaxWebsockets = 1024;

  /// `device` and `port` must outlive it.
  DeviceLoop(Loop& loop, Device& device, PacketPort& port, DeviceLoopOptions options = {});
  /// After stop() has called back.
  ~DeviceLoop();
  DeviceLoop(const DeviceLoop&) = delete;
  DeviceLoop& operator=(const DeviceLoop&) = delete;

  void set_hooks(DeviceHooks hooks) { hooks_ = std::move(hooks); }
  /// Takes bound UDP sockets, at most one a family; an earlier one of a family is closed.
  void add_socket(Descriptor socket);
  /// Of the first socket; 0 if there is none.
  std::uint16_t listen_port() const;
  void start();
  void stop(std::move_only_function<void()> done);

  Device& device() { return device_; }
  Moment now() const { return options_.clock(); }
  Loop& loop() { return loop_; }
  /// What the Device is given to write to; call flush() after the calls.
  Output& output() { return output_; }
  /// Sends what is in output() and tells of its events.
  void flush();
  /// A packet of ours to whichever peer has its destination, beside the stack.
  Sent send_packet(std::span<const std::uint8_t> packet);
  /// A datagram to `to`, as it is.
  void send_datagram(const TunnelEndpoint& to, std::span<const std::uint8_t> datagram);
  /// Looks at the clock and does what is due. For tests that move the clock.
  void poke();

  /// Takes a WebSocket connection (upgraded already; `input` was read behind the upgrade) from
  /// `source`. As a server it must bring an authentic datagram in 5 s. Returns its number for
  /// TunnelEndpoint::websocket(), or 0 where there are too many.
  std::uint32_t add_websocket(std::unique_ptr<Stream> stream, WebsocketRole role,
                              const Endpoint& source, std::string input);
  void close_websocket(std::uint32_t websocket);
  bool has_websocket(std::uint32_t websocket) const { return websockets_.contains(websocket); }

  DeviceLoopCounters counters() const;
  const GateCounters& gate_counters() const { return gate_.counters(); }

 private:
  struct Outer;      // a UDP socket with what waits for it
  struct Websocket;  // a transport with its source
  Task<> serve_socket(std::shared_ptr<Outer> outer);
  Task<> serve_port();
  Task<> serve_timer();
  Task<> serve_websocket(std::uint32_t number, std::shared_ptr<Websocket> websocket);

  void take_burst(const UdpBurst& burst, Moment now);
  PeerId take_datagram(std::span<std::uint8_t> datagram, const TunnelEndpoint& from, Moment now);
  void give_packets();
  void send_packets(std::span<const Packet> packets);
  void send_to(PeerId peer, const TunnelEndpoint& to, std::span<const std::uint8_t> bytes,
               std::size_t segment_bytes);
  void drain(Outer& outer);
  void clear_source(PeerId peer, const TunnelEndpoint& to);
  bool is_congested() const;
  void arm(TimePoint when);
  void look_at_clock(Moment now);
  std::size_t websockets_of(const Endpoint& source) const;

  Loop& loop_;
  Device& device_;
  PacketPort& port_;
  DeviceLoopOptions options_;
  DeviceHooks hooks_;
  PacketGate gate_;
  Output output_;
  TaskGroup group_;
  std::vector<Packet> packets_;  // of this burst, for the stack
  std::shared_ptr<Outer> v4_, v6_;
  std::unordered_map<std::uint32_t, std::shared_ptr<Websocket>> websockets_;
  std::uint32_t next_websocket_ = 1;
  std::vector<std::uint32_t> unflushed_;  // WebSockets with datagrams of this burst
  std::unique_ptr<Pollable> port_ready_;
  std::unique_ptr<Pollable> timer_;
  Waiter* port_waiter_ = nullptr;
  TimePoint armed_ = kNever;
  Moment last_look_{};
  bool flushing_ = false;
  bool stopping_ = false;
  bool paused_ = false;
  DeviceLoopCounters counters_;
};

}  // namespace rooster::tunnel
