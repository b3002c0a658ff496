// Packets and sessions of a Device (paper §5.4.6, §6).
//
//   send():     destination -> peer -> its current session -> datagram; none: queue and initiate
//   receive():  index -> session -> decrypt in place -> replay window -> roaming, timers
//               -> inner length -> source must be the peer's
#include "tunnel/device_core.hpp"
#include "tunnel/inner_packet.hpp"

#include <algorithm>
#include <utility>

namespace rooster::tunnel {
namespace {

// To the next multiple of 16, but never above the MTU (paper §5.4.6): a full packet must not make
// a datagram larger than the path takes.
std::size_t padding_of(std::size_t bytes, std::size_t mtu) {
  const std::size_t padded = (bytes + 15) / 16 * 16;
  return std::min(padded, std::max(mtu, bytes)) - bytes;
}

}  // namespace

Received Device::Core::receive(std::span<std::uint8_t> datagram, const TunnelEndpoint& from,
                               Moment now, Output& out) {
  if (datagram.size() >= wire::kTypeBytes) {
    // The reserved bytes must be zero: then the four are the type.
    switch (wire::Type{static_cast<std::uint8_t>(std::min(load32(datagram.data()), 255U))}) {
      case wire::Type::Data:
        if (datagram.size() < kDataOverheadBytes) break;
        return receive_data(datagram, from, now, out);
      case wire::Type::Initiation:
        if (datagram.size() != wire::kInitiationBytes) break;
        return {receive_initiation(datagram.first<wire::kInitiationBytes>(), from, now, out), {}};
      case wire::Type::Response:
        if (datagram.size() != wire::kResponseBytes) break;
        return {receive_response(datagram.first<wire::kResponseBytes>(), from, now, out), {}};
      case wire::Type::CookieReply:
        if (datagram.size() != wire::kCookieReplyBytes) break;
        receive_cookie(datagram.first<wire::kCookieReplyBytes>(), now);
        return {};
    }
  }
  ++statistics.wrong_mac;
  return {};
}

Received Device::Core::receive_data(std::span<std::uint8_t> datagram, const TunnelEndpoint& from,
                                    Moment now, Output& out) {
  const auto found = indices_.find(load32(&datagram[wire::kDataReceiver]));
  if (found == indices_.end() || found->second.session == nullptr ||
      now.boot - found->second.session->born >= kRejectAfterTime) {
    ++statistics.unknown_index;
    return {};
  }
  Peer& peer = *found->second.peer;
  Session& session = *found->second.session;
  bool was_replayed = false;
  if (!session.open(datagram, was_replayed)) {
    ++(was_replayed ? statistics.replayed : statistics.unauthentic);
    return {};
  }
  authenticated(peer, datagram.size(), from, now, out);
  if (&session == peer.sessions.next.get()) {
    drop(peer.sessions.previous);
    peer.sessions.previous = std::move(peer.sessions.current);
    peer.sessions.current = std::move(peer.sessions.next);
    handshake_complete(peer, now, out);
    flush_queue(peer, now, out);
  }
  const Session* const current = peer.sessions.current.get();
  if (current != nullptr && current->is_initiator && !peer.has_rekeyed_late &&
      now.boot - current->born >= kRekeyOnReceive) {
    peer.has_rekeyed_late = true;
    start_handshake(peer, Reason::Need, now, out);
  }
  const auto plain = datagram.subspan(kDataHeaderBytes, datagram.size() - kDataOverheadBytes);
  if (plain.empty()) return {peer.id, {}};
  peer.timers.data_received(now.boot);
  schedule(peer);
  const auto inner = parse_inner_packet(plain);
  if (!inner || !is_source_of(peer, inner->source)) {
    ++peer.wrong_source;
    return {peer.id, {}};
  }
  return {peer.id, plain.first(inner->bytes)};
}

bool Device::Core::is_source_of(Peer& peer, const IpAddress& source) {
  if (peer.known_source_routes == routes_version_ && peer.known_source == source) return true;
  if (routes_.find(source) != peer.id) return false;
  peer.known_source = source;
  peer.known_source_routes = routes_version_;
  return true;
}

void Device::Core::authenticated(Peer& peer, std::size_t bytes, const TunnelEndpoint& from,
                                 Moment now, Output& out) {
  peer.received_bytes += bytes;
  peer.last_received = now.boot;
  if (peer.place.learn(from, now.boot)) {
    out.add_event(peer.id, PeerEvent::Kind::EndpointChanged);
  }
  peer.timers.datagram_received(now.boot);
  schedule(peer);
}

void Device::Core::handshake_complete(Peer& peer, Moment now, Output& out) {
  peer.timers.handshake_done();
  peer.tries = 0;
  peer.has_rekeyed_late = false;
  peer.last_handshake = now.wall;
  out.add_event(peer.id, PeerEvent::Kind::Established);
}

void Device::Core::drop(std::unique_ptr<Session>& session) {
  if (!session) return;
  indices_.erase(session->own_index);
  session.reset();
}

Session* Device::Core::usable_session(Peer& peer, Moment now) const {
  Session* const session = peer.sessions.current.get();
  if (session == nullptr || now.boot - session->born >= kRejectAfterTime ||
      session->sent() >= kRejectAfterMessages) {
    return nullptr;
  }
  return session;
}

Sent Device::Core::send(Bytes packet, Moment now, Output& out) {
  const auto inner = parse_inner_packet(packet);
  if (!inner || inner->bytes > kMaxPacketBytes) return Sent::Invalid;
  packet = packet.first(inner->bytes);
  Peer* const peer = owner_of(inner->destination);
  if (peer == nullptr) {
    ++statistics.no_route;
    return Sent::NoRoute;
  }
  if (!peer->place.endpoint()) {
    ++peer->dropped;
    return Sent::NoEndpoint;
  }
  if (Session* const session = usable_session(*peer, now)) {
    seal(*peer, *session, packet, now, out);
    return Sent::Now;
  }
  peer->dropped += peer->queue.push(packet);
  start_handshake(*peer, Reason::Need, now, out);
  return Sent::Queued;
}

void Device::Core::seal(Peer& peer, Session& session, Bytes packet, Moment now, Output& out) {
  const std::size_t padding = padding_of(packet.size(), options.mtu);
  const auto room = out.room(packet.size() + padding + kDataOverheadBytes);
  session.seal(packet, padding, room);
  out.add(peer.id, peer.place.endpoint(), room.size());
  peer.sent_bytes += room.size();
  peer.timers.datagram_sent(now.boot);
  if (!packet.empty()) peer.timers.data_sent(now.boot, jitter_);
  schedule(peer);
  // Only who began a session renews it in time, or both would at once (paper §6.2).
  const bool is_old = session.is_initiator && now.boot - session.born >= kRekeyAfterTime;
  if (is_old || session.sent() > kRekeyAfterMessages) {
    start_handshake(peer, Reason::Need, now, out);
  }
}

void Device::Core::send_keepalive(Peer& peer, Moment now, Output& out) {
  if (!peer.place.endpoint()) return;
  if (Session* const session = usable_session(peer, now)) {
    seal(peer, *session, {}, now, out);
  } else {
    start_handshake(peer, Reason::Need, now, out);
  }
}

void Device::Core::flush_queue(Peer& peer, Moment now, Output& out) {
  while (!peer.queue.empty()) {
    Session* const session = usable_session(peer, now);
    if (session == nullptr || !peer.place.endpoint()) return;
    seal(peer, *session, peer.queue.front(), now, out);
    peer.queue.pop();
  }
}

}  // namespace rooster::tunnel
