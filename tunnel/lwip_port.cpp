#include "tunnel/lwip_port.hpp"

#include <utility>

#include <lwip/pbuf.h>
#include <sys/eventfd.h>

namespace rooster::tunnel {

LwipPort::LwipPort(Descriptor event, std::move_only_function<bool(Packet)> input,
                   std::move_only_function<void()> has_room)
    : event_(std::move(event)),
      input_(std::move(input)),
      has_room_(std::move(has_room)),
      slots_(std::make_unique_for_overwrite<std::array<std::uint8_t, kMaxPacketBytes>[]>(kSlots)) {}

std::span<const Packet> LwipPort::take() {
  head_ = (head_ + lent_) % kSlots;
  count_ -= std::exchange(lent_, 0);
  if (std::exchange(was_full_, false)) has_room_();
  lent_ = std::min(count_, kMaxPackets);
  for (std::size_t i = 0; i < lent_; ++i) {
    const std::size_t slot = (head_ + i) % kSlots;
    taken_[i] = Packet(slots_[slot].data(), sizes_[slot]);
  }
  is_watched_ = lent_ == 0;
  return {taken_.data(), lent_};
}

void LwipPort::give(std::span<const Packet> packets) {
  for (const Packet packet : packets) {
    if (!input_(packet)) ++dropped_;
  }
}

bool LwipPort::push(const pbuf& packet) {
  if (count_ == kSlots) {
    was_full_ = true;
    return false;
  }
  if (packet.tot_len > kMaxPacketBytes) return true;  // never of ours: the MTU is below it
  const std::size_t slot = (head_ + count_++) % kSlots;
  sizes_[slot] = packet.tot_len;
  pbuf_copy_partial(&packet, slots_[slot].data(), packet.tot_len, 0);
  if (std::exchange(is_watched_, false)) eventfd_write(event_.get(), 1);
  return true;
}

}  // namespace rooster::tunnel
