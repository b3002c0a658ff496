#include "proxy/peek.hpp"

#include <algorithm>

#include <sys/socket.h>

namespace rooster::proxy {

std::string_view peek(const Stream& stream, std::span<char> into) {
  if (!stream.pollable().is(Pollable::kReadable)) return {};
  const ssize_t got = ::recv(stream.fd(), into.data(), into.size(), MSG_PEEK | MSG_DONTWAIT);
  return {into.data(), got > 0 ? static_cast<std::size_t>(got) : 0};
}

// Readiness comes by edges: what peek() has seen must not count as news, and bytes that come after
// it bring an edge of their own.
Task<> wait_for_more(Stream& stream, Waiter& waiter, TimePoint deadline) {
  if (stream.pollable().is(Pollable::kPeerClosed | Pollable::kBroken)) {
    co_return Error(Fault::ClientLeft);
  }
  stream.pollable().clear(Pollable::kReadable);
  const Woke woke = co_await waiter.wait(deadline, stream.readable());
  if (woke == Woke::Interrupted) co_return Error(waiter.interrupted_by());
  if (woke == Woke::Deadline) co_return Error(Fault::HeadTimeout);
  co_return {};
}

bool skip(Stream& stream, std::span<char> scratch, std::size_t bytes) {
  while (bytes > 0) {
    const ReadResult got = stream.read(scratch.first(std::min(bytes, scratch.size())));
    if (got.status != ReadResult::Status::Some) return false;
    bytes -= got.bytes;
  }
  return true;
}

}  // namespace rooster::proxy
