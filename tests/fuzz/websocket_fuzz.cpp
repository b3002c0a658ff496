// Any bytes as what comes over a WebSocket: in pieces of any size the same datagrams come out, none
// larger than may be, and what was refused stays refused.
#include "tunnel/websocket_frames.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

namespace {

using namespace rooster::tunnel;
using Bytes = std::vector<std::uint8_t>;

void require(bool holds) {
  if (!holds) std::abort();
}

struct Read {
  std::vector<Bytes> datagrams;
  bool good = true;
};

void take(DatagramReader& datagrams, std::span<std::uint8_t> payload, Read& read) {
  while (read.good && !payload.empty()) {
    const std::size_t before = payload.size();
    const auto datagram = datagrams.next(payload);
    read.good = datagram.has_value();
    if (!datagram) return;
    require(payload.size() < before || !datagram->empty());
    require(datagram->size() <= DatagramReader::kMaxDatagramBytes);
    if (!datagram->empty()) read.datagrams.emplace_back(datagram->begin(), datagram->end());
  }
}

Read read(WebsocketRole role, std::span<const std::uint8_t> input, std::size_t piece) {
  Bytes bytes(input.begin(), input.end());  // they are unmasked in place
  WebsocketReader frames(role);
  DatagramReader datagrams(role == WebsocketRole::Server);
  Read out;
  for (std::size_t at = 0; at < bytes.size() && out.good; at += piece) {
    auto rest = std::span(bytes).subspan(at, std::min(piece, bytes.size() - at));
    WebsocketReader::Piece found;
    for (;;) {
      const auto more = frames.next(rest, found);
      out.good = more.has_value();
      if (!more || !*more) break;
      if (found.opcode < WebsocketOpcode::Close) take(datagrams, found.payload, out);
      if (!out.good) break;
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::uint8_t> input(data, size);
  for (const WebsocketRole role : {WebsocketRole::Client, WebsocketRole::Server}) {
    const Read whole = read(role, input, size + 1);
    for (const std::size_t piece : {1ul, 7ul}) {
      const Read again = read(role, input, piece);
      require(again.good == whole.good);
      require(again.datagrams == whole.datagrams);
    }
  }
  return 0;
}
