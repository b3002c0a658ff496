// What is due in a Device (paper §6): a heap of peers by their earliest deadline. A deadline that
// moves later leaves its entry where it is: the peer is looked at too soon and entered again.
#include "tunnel/device_core.hpp"

namespace rooster::tunnel {

void Device::Core::schedule(Peer& peer) {
  const TimePoint next = peer.timers.next();
  if (next >= peer.scheduled) return;
  peer.scheduled = next;
  due_.push({next, peer.id});
}

void Device::Core::tick(Moment now, Output& out) {
  while (!due_.empty() && due_.top().when <= now.boot) {
    const Due due = due_.top();
    due_.pop();
    Peer* const peer = find(due.peer);
    if (peer == nullptr || peer->scheduled != due.when) continue;
    peer->scheduled = kNever;
    run_timers(*peer, now, out);
    schedule(*peer);
  }
}

void Device::Core::run_timers(Peer& peer, Moment now, Output& out) {
  if (peer.timers.take_zero_keys(now.boot)) {
    drop_sessions(peer);
    peer.timers.handshake_done();
    peer.dropped += peer.queue.clear();
    out.add_event(peer.id, PeerEvent::Kind::KeysZeroed);
  }
  if (peer.timers.take_retry(now.boot)) {
    if (peer.tries >= kMaxTries) {
      give_up(peer, now, out);
    } else {
      peer.place.forget_local();
      start_handshake(peer, Reason::Retry, now, out);
    }
  }
  if (peer.timers.take_no_answer(now.boot)) {
    peer.place.forget_local();
    start_handshake(peer, Reason::Need, now, out);
  }
  if (peer.timers.take_keepalive(now.boot)) send_keepalive(peer, now, out);
  if (peer.timers.take_persistent(now.boot)) send_keepalive(peer, now, out);
}

void Device::Core::give_up(Peer& peer, Moment now, Output& out) {
  drop_attempt(peer);
  peer.timers.cancel_keepalive();
  peer.dropped += peer.queue.clear();
  if (!peer.timers.is_zero_keys_set()) peer.timers.session_made(now.boot);
  out.add_event(peer.id, PeerEvent::Kind::GaveUp);
}

}  // namespace rooster::tunnel
