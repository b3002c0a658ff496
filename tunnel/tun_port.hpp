// TunPort: a TUN device's descriptor as a PacketPort. With IFF_VNET_HDR on the device it moves up
// to 64 KiB of a TCP connection by one syscall; without, a packet.
#pragma once

#include "core/descriptor.hpp"
#include "tunnel/segments.hpp"
#include "tunnel/stack.hpp"

#include <array>
#include <memory>
#include <string>

namespace rooster::tunnel {

class TunPort final : public PacketPort {
 public:
  /// Takes the descriptor of an attached TUN device (IFF_TUN | IFF_NO_PI, and IFF_VNET_HDR if it
  /// may be fast) and makes it non-blocking. Errors: Internal, when it is no such device.
  static Result<std::unique_ptr<TunPort>> create(Descriptor device);
  ~TunPort() override;

  int fd() const override { return device_.get(); }
  std::span<const Packet> take() override;
  void give(std::span<const Packet> packets) override;
  std::uint64_t dropped() const override { return dropped_; }
  /// Does the device move joined packets?
  bool is_joined() const { return joined_; }

 private:
  TunPort(Descriptor device, bool with_header);
  bool read_one();

  Descriptor device_;
  bool with_header_;
  bool joined_ = false;
  std::unique_ptr<std::uint8_t[]> read_;   // one read of the device
  std::unique_ptr<std::uint8_t[]> slots_;  // what take() gives
  std::array<Packet, kMaxPackets> taken_;
  Splitter splitter_;
  Joiner joiner_;
  std::uint64_t dropped_ = 0;
};

}  // namespace rooster::tunnel
