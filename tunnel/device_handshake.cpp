// The handshakes of a Device (paper §5.4.2 to §5.4.4, §5.4.7).
//
//   ours:    start_handshake() -> initiation ... response -> receive_response() -> session
//   theirs:  initiation -> receive_initiation() -> may_answer()? -> respond() -> `next` session,
//            used from the first datagram that comes on it
#include "tunnel/device_core.hpp"

#include <algorithm>

namespace rooster::tunnel {
namespace {

// Each wrong response costs two Diffie-Hellmans; only who sees our initiations can send them.
constexpr int kMaxWrongResponses = 8;

}  // namespace

std::uint32_t Device::Core::new_index(Peer& peer) {
  while (true) {
    const std::uint32_t index = random.next_u32();
    if (indices_.try_emplace(index, Indexed{&peer, nullptr}).second) return index;
  }
}

void Device::Core::drop_attempt(Peer& peer) {
  if (!peer.attempt) return;
  indices_.erase(peer.attempt->index);
  peer.attempt.reset();
}

bool Device::Core::start_handshake(Peer& peer, Reason reason, Moment now, Output& out) {
  if (!peer.place.endpoint()) return false;
  if (reason != Reason::Retry) peer.tries = 0;
  TimePoint not_before = peer.not_before;
  if (reason == Reason::Need && peer.last_initiation) {
    not_before = std::max(not_before, *peer.last_initiation + kRekeyTimeout);
  }
  if (now.boot < not_before) {
    if (reason == Reason::Will || !peer.timers.is_retry_set()) peer.timers.retry_at(not_before);
    schedule(peer);
    return true;
  }
  drop_attempt(peer);
  peer.last_stamp = stamp_after(peer.last_stamp, now.wall);
  std::array<std::uint8_t, wire::kInitiationBytes> message{};
  wire::put_type(message, wire::Type::Initiation);
  auto pending = write_initiation(algorithms, key, peer.noise(), X25519Key::generate(random),
                                  peer.last_stamp, message);
  if (!pending) return false;  // a low-order point; add() has refused those
  const std::uint32_t index = new_index(peer);
  store32(&message[wire::kInitiationSender], index);
  peer.macs.stamp(algorithms, message, now.boot);
  peer.attempt.emplace(std::move(*pending), index, message);
  ++peer.tries;
  peer.last_initiation = now.boot;
  peer.not_before = now.boot + kInitiationInterval;
  peer.timers.initiation_sent(now.boot, jitter_);
  put_message(peer, message, now, out);
  out.add_event(peer.id, PeerEvent::Kind::Initiated);
  return true;
}

void Device::Core::put_message(Peer& peer, Bytes message, Moment now, Output& out) {
  std::ranges::copy(message, out.room(message.size()).begin());
  out.add(peer.id, peer.place.endpoint(), message.size());
  peer.sent_bytes += message.size();
  peer.timers.datagram_sent(now.boot);
  schedule(peer);
}

PeerId Device::Core::receive_initiation(ConstInitiationBytes message, const TunnelEndpoint& from,
                                        Moment now, Output& out) {
  if (!cookies_.is_mac1_right(algorithms, message)) {
    ++statistics.wrong_mac;
    return {};
  }
  if (!may_answer(message, from, now, out)) return {};
  auto opened = open_initiation(algorithms, key, message);
  if (!opened) {
    ++statistics.unauthentic;
    return {};
  }
  const auto found = by_key.find(opened->initiator);
  if (found == by_key.end()) {
    ++statistics.unknown_peer;
    return {};
  }
  Peer& peer = *found->second;
  const auto stamp = open_timestamp(algorithms, *opened, peer.static_static, message);
  if (!stamp) {
    ++statistics.unauthentic;
    return {};
  }
  if (*stamp <= peer.greatest_stamp) {
    ++statistics.replayed;
    return {};
  }
  if (peer.last_taken_initiation && now.boot - *peer.last_taken_initiation < kInitiationInterval) {
    ++statistics.rate_limited;
    return {};
  }
  peer.greatest_stamp = *stamp;
  peer.last_taken_initiation = now.boot;
  authenticated(peer, message.size(), from, now, out);
  const std::uint32_t peer_index = load32(&message[wire::kInitiationSender]);
  respond(peer, std::move(*opened), peer_index, now, out);
  return peer.id;
}

// A source that shows its cookie has a share of its own. One that does not can be anybody: beyond
// the share of such, and of all under load, it is asked for the cookie and nothing more is done.
bool Device::Core::may_answer(ConstInitiationBytes message, const TunnelEndpoint& from, Moment now,
                              Output& out) {
  const bool is_loaded = load_.count(now.boot);
  if (cookies_.is_mac2_right(algorithms, message, from, random, now.boot)) {
    if (proven_.take(from.remote.address, now.boot)) return true;
    ++statistics.rate_limited;
    return false;
  }
  if (!is_loaded && unproven_.take(from.remote.address, now.boot)) return true;
  const std::uint32_t index = load32(&message[wire::kInitiationSender]);
  const auto room = out.room(wire::kCookieReplyBytes).first<wire::kCookieReplyBytes>();
  cookies_.write_reply(algorithms, message, index, from, random, now.boot, room);
  out.add(PeerId{}, from, room.size());
  ++statistics.cookies_sent;
  return false;
}

void Device::Core::respond(Peer& peer, OpenedInitiation opened, std::uint32_t peer_index,
                           Moment now, Output& out) {
  std::array<std::uint8_t, wire::kResponseBytes> message{};
  wire::put_type(message, wire::Type::Response);
  const auto keys = write_response(algorithms, std::move(opened), peer.preshared,
                                   X25519Key::generate(random), message);
  if (!keys) return;  // its ephemeral key was a low-order point
  const std::uint32_t index = new_index(peer);
  store32(&message[wire::kResponseSender], index);
  store32(&message[wire::kResponseReceiver], peer_index);
  peer.macs.stamp(algorithms, message, now.boot);
  begin_as_responder(
      peer, std::make_unique<Session>(algorithms, *keys, index, peer_index, false, now.boot));
  peer.timers.session_made(now.boot);
  put_message(peer, message, now, out);
}

PeerId Device::Core::receive_response(ConstResponseBytes message, const TunnelEndpoint& from,
                                      Moment now, Output& out) {
  const std::uint32_t index = load32(&message[wire::kResponseReceiver]);
  const auto found = indices_.find(index);
  if (found == indices_.end() || found->second.session != nullptr) {
    ++statistics.unknown_index;
    return {};
  }
  Peer& peer = *found->second.peer;
  if (!peer.attempt || peer.attempt->index != index ||
      peer.attempt->wrong_responses >= kMaxWrongResponses) {
    ++statistics.unknown_index;
    return {};
  }
  if (!cookies_.is_mac1_right(algorithms, message)) {
    ++statistics.wrong_mac;
    return {};
  }
  const auto keys = read_response(algorithms, key, peer.attempt->pending, peer.preshared, message);
  if (!keys) {
    ++peer.attempt->wrong_responses;
    ++statistics.unauthentic;
    return {};
  }
  peer.attempt.reset();  // its index is the session's from now on
  const std::uint32_t peer_index = load32(&message[wire::kResponseSender]);
  begin_as_initiator(
      peer, std::make_unique<Session>(algorithms, *keys, index, peer_index, true, now.boot));
  peer.timers.session_made(now.boot);
  authenticated(peer, message.size(), from, now, out);
  handshake_complete(peer, now, out);
  // The peer must hear from us on this session before it may use it.
  if (peer.queue.empty()) send_keepalive(peer, now, out);
  flush_queue(peer, now, out);
  return peer.id;
}

// As the kernel does it: of what was, the newest session that may still carry datagrams is kept.
void Device::Core::begin_as_initiator(Peer& peer, std::unique_ptr<Session> session) {
  Sessions& sessions = peer.sessions;
  indices_[session->own_index].session = session.get();
  drop(sessions.previous);
  if (sessions.next) {
    drop(sessions.current);
    sessions.previous = std::move(sessions.next);
  } else {
    sessions.previous = std::move(sessions.current);
  }
  sessions.current = std::move(session);
}

void Device::Core::begin_as_responder(Peer& peer, std::unique_ptr<Session> session) {
  Sessions& sessions = peer.sessions;
  indices_[session->own_index].session = session.get();
  drop(sessions.next);
  drop(sessions.previous);
  sessions.next = std::move(session);
}

void Device::Core::receive_cookie(ConstCookieReplyBytes message, Moment now) {
  const auto found = indices_.find(load32(&message[wire::kCookieReceiver]));
  if (found == indices_.end()) {
    ++statistics.unknown_index;
  } else if (found->second.peer->macs.take_reply(algorithms, message, now.boot)) {
    ++statistics.cookies_received;
  } else {
    ++statistics.unauthentic;
  }
}

}  // namespace rooster::tunnel
