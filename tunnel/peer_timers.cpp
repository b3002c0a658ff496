#include "tunnel/peer_timers.hpp"

#include <algorithm>

namespace rooster::tunnel {

Duration Jitter::next() {
  // xorshift64 (Marsaglia): the data path asks for one per packet, too often for a system call.
  state_ ^= state_ << 13;
  state_ ^= state_ >> 7;
  state_ ^= state_ << 17;
  return std::chrono::milliseconds(state_ % 334);
}

void PeerTimers::data_sent(TimePoint now, Jitter& jitter) {
  if (no_answer_ == kNever) no_answer_ = now + no_answer_after_ + jitter.next();
}

void PeerTimers::data_received(TimePoint now) {
  if (keepalive_ == kNever) {
    keepalive_ = now + keepalive_after_;
  } else {
    is_keepalive_again_ = true;
  }
}

void PeerTimers::datagram_sent(TimePoint now) {
  keepalive_ = kNever;
  if (interval_.count() != 0) persistent_ = now + interval_;
}

void PeerTimers::datagram_received(TimePoint now) {
  no_answer_ = kNever;
  if (interval_.count() != 0) persistent_ = now + interval_;
}

void PeerTimers::initiation_sent(TimePoint now, Jitter& jitter) {
  retry_ = now + kRekeyTimeout + jitter.next();
}

void PeerTimers::handshake_done() {
  retry_ = kNever;
}

void PeerTimers::set_persistent(std::chrono::seconds interval, TimePoint first) {
  interval_ = interval;
  persistent_ = interval.count() != 0 ? first : kNever;
}

void PeerTimers::reset(TimePoint now) {
  retry_ = keepalive_ = no_answer_ = zero_keys_ = kNever;
  is_keepalive_again_ = false;
  persistent_ = interval_.count() != 0 ? now : kNever;
}

bool PeerTimers::take_keepalive(TimePoint now) {
  if (!take(keepalive_, now)) return false;
  if (is_keepalive_again_) keepalive_ = now + keepalive_after_;
  is_keepalive_again_ = false;
  return true;
}

bool PeerTimers::take_persistent(TimePoint now) {
  if (!take(persistent_, now)) return false;
  persistent_ = now + interval_;
  return true;
}

TimePoint PeerTimers::next() const {
  return std::min({retry_, keepalive_, no_answer_, zero_keys_, persistent_});
}

}  // namespace rooster::tunnel
