// LwipConnection: one TCP connection of lwIP's, and the coroutine that carries its bytes to and
// from a socketpair.
//
//   1. lwIP's callbacks queue what came (received_), note FIN, RST and room, and notify.
//   2. carry() writes what is queued to the socketpair; only then does the window open again.
//   3. carry() reads from the socketpair while lwIP has room.
//   4. FIN either way is a half-close; RST sets the flag before our end is closed; a caller that
//      is gone ends the connection as the kernel would.
#pragma once

#include "core/loop.hpp"
#include "core/stream.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>

struct pbuf;
struct tcp_pcb;

namespace rooster::tunnel {

/// What all connections hold together. Past the bounds packets are dropped and callers wait.
struct LwipMemory {
  static constexpr std::size_t kMaxReceivedBytes = 256 * 1024 * 1024;
  static constexpr std::size_t kMaxSendingBytes = 256 * 1024 * 1024;
  std::size_t received_bytes = 0;  ///< not yet in a socketpair
  std::size_t sending_bytes = 0;   ///< given to lwIP, not acknowledged
  std::size_t connections = 0;
};

class LwipConnection {
 public:
  enum class State : std::uint8_t { Connecting, Open, Refused, Lost };

  /// Takes `pcb`: it is reset if it is still open when this is destroyed.
  LwipConnection(LwipMemory& memory, tcp_pcb& pcb, State state);
  ~LwipConnection();
  LwipConnection(const LwipConnection&) = delete;
  LwipConnection& operator=(const LwipConnection&) = delete;

  State state() const { return state_; }
  const tcp_pcb* pcb() const { return pcb_; }
  /// Who is notified when something changes; null for nobody.
  void watch(Waiter* waiter) { waiter_ = waiter; }
  /// For tcp_connect().
  void opened();

  /// Carries until both sides are done. `fd` is our end of the socketpair, `was_reset` the flag
  /// that the other end was given.
  static Task<> carry(std::unique_ptr<LwipConnection> self, TaskGroup& group, Descriptor fd,
                      std::shared_ptr<std::atomic<bool>> was_reset);

 private:
  static std::int8_t on_received(void* self, tcp_pcb* pcb, pbuf* data, std::int8_t error);
  static std::int8_t on_sent(void* self, tcp_pcb* pcb, std::uint16_t bytes);
  static void on_lost(void* self, std::int8_t error);

  void notify();
  bool deliver(Pollable& pollable);
  bool collect(Pollable& pollable);
  std::ptrdiff_t write_some(int fd);
  void drop_received(std::size_t bytes);
  std::size_t room() const;
  std::uint8_t wanted(const Pollable& pollable) const;
  bool is_done() const { return pcb_ == nullptr && received_ == nullptr && end_delivered_; }
  void let_go();
  void reset();

  LwipMemory& memory_;
  tcp_pcb* pcb_;  // null once lwIP has it to itself or has freed it
  Waiter* waiter_ = nullptr;
  State state_;
  pbuf* received_ = nullptr;
  pbuf* last_received_ = nullptr;
  std::size_t offset_ = 0;  // of received_, already in the socketpair
  std::size_t sending_bytes_ = 0;
  bool remote_ended_ = false;  // FIN came
  bool end_delivered_ = false;
  std::shared_ptr<std::atomic<bool>> was_reset_;  // by the remote, or by the caller
  bool caller_ended_ = false;  // the socketpair's other end has shut down its writing
};

}  // namespace rooster::tunnel
