// LwipPort: the packets that lwIP wants to send, in a ring, until the DeviceLoop takes them.
#pragma once

#include "core/error.hpp"
#include "tunnel/stack.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

struct pbuf;

namespace rooster::tunnel {

class LwipPort final : public PacketPort {
 public:
  /// `input` gets each packet that is given; false counts it as dropped. `has_room` is called when
  /// push() failed earlier and would succeed now.
  LwipPort(Descriptor event, std::move_only_function<bool(Packet)> input,
           std::move_only_function<void()> has_room);

  int fd() const override { return event_.get(); }
  std::span<const Packet> take() override;
  void give(std::span<const Packet> packets) override;
  std::uint64_t dropped() const override { return dropped_; }

  /// Copies one packet into the ring. False: it is full.
  bool push(const pbuf& packet);

 private:
  // A window at 40 ms; what waits longer than that is better sent later by TCP itself.
  static constexpr std::size_t kSlots = 1024;

  Descriptor event_;
  std::move_only_function<bool(Packet)> input_;
  std::move_only_function<void()> has_room_;
  std::unique_ptr<std::array<std::uint8_t, kMaxPacketBytes>[]> slots_;
  std::array<std::uint16_t, kSlots> sizes_{};
  std::array<Packet, kMaxPackets> taken_;
  std::size_t head_ = 0;    // the first slot in use
  std::size_t count_ = 0;   // slots in use, with those lent
  std::size_t lent_ = 0;    // slots the last take() gave out
  bool is_watched_ = true;  // the reader has seen it empty: the next push signals
  bool was_full_ = false;
  std::uint64_t dropped_ = 0;
};

}  // namespace rooster::tunnel
