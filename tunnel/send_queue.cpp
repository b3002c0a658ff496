#include "tunnel/send_queue.hpp"

#include <algorithm>

namespace rooster::tunnel {
namespace {

std::size_t count_of(std::size_t bytes, std::size_t segment_bytes) {
  return (bytes + segment_bytes - 1) / segment_bytes;
}

}  // namespace

void SendQueue::push(PeerId peer, const TunnelEndpoint& to, std::span<const std::uint8_t> bytes,
                     std::size_t segment_bytes) {
  if (bytes.empty()) return;
  const auto found = peers_.find(peer);
  const std::size_t held = found == peers_.end() ? 0 : found->second.bytes;
  if (held + bytes.size() > kMaxPeerBytes || bytes_ + bytes.size() > kMaxBytes) {
    dropped_ += count_of(bytes.size(), segment_bytes);
    return;
  }
  PeerQueue& queue = peers_[peer];
  if (queue.runs.empty()) {
    turns_.push_back(peer);
    queue.deficit = kQuantum;
  }
  queue.runs.push_back({peer, to, {bytes.begin(), bytes.end()}, segment_bytes});
  queue.bytes += bytes.size();
  bytes_ += bytes.size();
}

std::span<const std::uint8_t> SendQueue::next() {
  const Run& run = front();
  const auto rest = run.rest();
  const std::size_t allowed = peers_.at(turns_.front()).deficit;
  const std::size_t whole = std::max<std::size_t>(allowed / run.segment_bytes, 1);
  return rest.first(std::min(rest.size(), whole * run.segment_bytes));
}

void SendQueue::sent(std::size_t bytes) {
  PeerQueue& queue = peers_.at(turns_.front());
  const bool all = bytes == next().size();
  Run& run = queue.runs.front();
  run.done += bytes;
  queue.bytes -= bytes;
  bytes_ -= bytes;
  queue.deficit -= std::min(queue.deficit, bytes);
  if (run.done == run.bytes.size()) queue.runs.pop_front();
  if (queue.runs.empty()) {
    peers_.erase(turns_.front());
    turns_.pop_front();
  } else if (all && queue.deficit < queue.runs.front().segment_bytes) {
    queue.deficit += kQuantum;
    turns_.push_back(turns_.front());
    turns_.pop_front();
  }
}

void SendQueue::forget(PeerId peer) {
  const auto found = peers_.find(peer);
  if (found == peers_.end()) return;
  bytes_ -= found->second.bytes;
  peers_.erase(found);
  std::erase(turns_, peer);
}

}  // namespace rooster::tunnel
