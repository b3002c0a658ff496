// Any bytes as inner packets and as what a TUN device gives: the gate, the splitter and the joiner
// stay inside them, and joining loses no packet's byte.
#include "tunnel/packet_gate.hpp"
#include "tunnel/segments.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

namespace {

using namespace rooster::tunnel;
using Bytes = std::vector<std::uint8_t>;

void require(bool holds) {
  if (!holds) std::abort();
}

void judge(std::span<const std::uint8_t> input) {
  GateRules rules;
  rules.answers_echo = [](PeerId, const rooster::IpAddress& to) { return to.bytes()[15] % 2 == 0; };
  rules.connects_per_second = 2;
  PacketGate gate(std::move(rules));
  for (int i = 0; i < 3; ++i) {
    Bytes packet(input.begin(), input.end());
    PacketGate::may_leave(packet);
    const auto verdict = gate.judge({1}, packet, rooster::TimePoint{});
    require((verdict == PacketGate::Verdict::Answer) == !gate.answer().empty());
    require(gate.answer().size() <= std::max<std::size_t>(packet.size(), 1280));
  }
}

void split(std::span<const std::uint8_t> input) {
  OffloadHeader offload;
  if (input.size() < sizeof offload) return;
  std::memcpy(&offload, input.data(), sizeof offload);
  Bytes packet(input.begin() + sizeof offload, input.end());
  Splitter splitter;
  if (!splitter.begin(offload, packet)) return;
  Bytes slot(PacketPort::kMaxPacketBytes);
  std::size_t rounds = 0;
  while (!splitter.is_done()) {
    require(splitter.next(slot) <= slot.size());
    require(++rounds <= packet.size() + 1);
  }
}

// The first byte of each piece says how long the next packet is.
void join(std::span<const std::uint8_t> input) {
  Bytes bytes(input.begin(), input.end());
  std::vector<Packet> packets;
  std::size_t given = 0;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t wanted = 1u + bytes[at++];
    const std::size_t here = std::min(wanted, bytes.size() - at);
    if (here == 0) break;
    packets.push_back(std::span(bytes).subspan(at, here));
    given += here;
    at += here;
  }
  Joiner joiner;
  std::size_t written = 0, headers = 0;
  for (const Joiner::Write& write : joiner.join(packets)) {
    for (const iovec& part : write.parts.subspan(1)) written += part.iov_len;
    const std::size_t joined = write.parts.size() - 2;
    headers += joined * write.offload.header_bytes;
  }
  require(written + headers == given);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::uint8_t> input(data, size);
  judge(input);
  split(input);
  join(input);
  return 0;
}
