#include "tunnel/session.hpp"

#include "tunnel/wire.hpp"

#include <cassert>

namespace rooster::tunnel {

void Session::seal(Bytes packet, std::size_t padding, std::span<std::uint8_t> datagram) {
  assert(datagram.size() == wire::kDataPacket + packet.size() + padding + wire::kMacBytes);
  wire::put_type(datagram, wire::Type::Data);
  store32(&datagram[wire::kDataReceiver], peer_index_);
  store64(&datagram[wire::kDataCounter], counter_);
  sealing_.seal(nonce_of(counter_), {}, packet, padding, &datagram[wire::kDataPacket]);
  ++counter_;
}

bool Session::open(std::span<std::uint8_t> datagram, bool& was_replayed) {
  const std::uint64_t counter = load64(&datagram[wire::kDataCounter]);
  was_replayed = !window_.is_fresh(counter);
  if (was_replayed) return false;
  const auto sealed = datagram.subspan(wire::kDataPacket);
  return opening_.open(nonce_of(counter), {}, sealed, sealed.data()) && window_.accept(counter);
}

}  // namespace rooster::tunnel
