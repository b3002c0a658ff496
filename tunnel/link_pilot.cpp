#include "tunnel/link_pilot.hpp"

#include <algorithm>

namespace rooster::tunnel {
namespace {

using namespace std::chrono_literals;

constexpr auto kElsewhereAfter = 150ms;  // an address family that is broken costs no more
constexpr auto kWebsocketAfter = 300ms;
constexpr auto kPatienceWhenUp = 2s;  // a lost packet of a rekey is no reason to race
constexpr auto kRetryWebsocket = 5s;
constexpr auto kProbeEach = 60s;
constexpr auto kProbeAgain = 250ms;
constexpr auto kProbeWait = 1s;
constexpr auto kRepeatAfter = 1s;
constexpr auto kResolveAgain = 2s;
constexpr int kLostAfter = 2;  // initiations in a row
constexpr int kGoodProbes = 2;

}  // namespace

void LinkPilot::report(LinkReport::Kind kind, Duration after, std::string detail) {
  reports_.push_back({kind, after, std::move(detail), carrier_});
}

// A new attempt at the first UDP endpoint, from fresh addresses.
void LinkPilot::begin(TimePoint now) {
  asked_ = now;
  sent_elsewhere_ = sent_by_websocket_ = false;
  may_repeat_ = true;
  probe_until_ = next_probe_ = resolve_again_ = kNever;
  act(LinkAction::Resolve);
}

void LinkPilot::start(TimePoint now) {
  state_ = State::Trying;
  since_ = now;
  begin(now);
}

void LinkPilot::unresolved(const std::string& why, TimePoint now) {
  resolve_again_ = now + kResolveAgain;
  if (why != resolve_trouble_) report(LinkReport::Kind::Unresolved, {}, why);
  resolve_trouble_ = why;
}

void LinkPilot::lose(TimePoint now) {
  state_ = State::Lost;
  since_ = now;
  report(LinkReport::Kind::Lost);
  drop_websocket(now);
  begin(now);
}

// It may be as dead as the link: a new one is opened when it is wanted.
void LinkPilot::drop_websocket(TimePoint now) {
  if (websocket_ != Socket::Closed) act(LinkAction::CloseWebsocket);
  websocket_ = Socket::Closed;
  retry_websocket_ = now;
}

void LinkPilot::initiated(TimePoint now) {
  if (probe_until_ != kNever) return;  // a probe's: its end is probe_until_
  asked_ = now;
  sent_elsewhere_ = sent_by_websocket_ = false;
  if (++unanswered_ >= kLostAfter && state_ == State::Up) lose(now);
}

Duration LinkPilot::race_delay() const {
  return state_ == State::Up ? Duration(kPatienceWhenUp) : Duration(kWebsocketAfter);
}

void LinkPilot::established(Carrier carrier, TimePoint now) {
  unanswered_ = 0;
  asked_ = kNever;
  may_repeat_ = false;
  if (state_ == State::Up && carrier_ == Carrier::Websocket && carrier == Carrier::Udp &&
      ++good_probes_ < kGoodProbes) {
    // Once may be luck: again, before the WebSocket is given up. Not at once: a gateway drops a
    // peer's second initiation within 20 ms.
    probe_until_ = kNever;
    next_probe_ = now + kProbeAgain;
    return;
  }
  probe_until_ = kNever;
  settle(carrier, now);
}

void LinkPilot::settle(Carrier carrier, TimePoint now) {
  const bool has_changed = carrier_ != carrier;
  const State before = state_;
  carrier_ = carrier;
  state_ = State::Up;
  good_probes_ = 0;
  if (before == State::Trying) {
    report(LinkReport::Kind::Connected, now - since_);
  } else if (slept_) {
    report(LinkReport::Kind::Woke, *slept_);
  } else if (before == State::Lost) {
    report(LinkReport::Kind::Reconnected, now - since_);
  }
  slept_.reset();
  if (has_changed && before != State::Trying) {
    report(carrier == Carrier::Udp ? LinkReport::Kind::ToUdp : LinkReport::Kind::ToWebsocket);
  }
  if (carrier == Carrier::Websocket) {
    next_probe_ = now + kProbeEach;
  } else {
    next_probe_ = kNever;
    drop_websocket(now);
  }
}

void LinkPilot::gave_up(TimePoint now) {
  if (state_ != State::Stopped) begin(now);
}

void LinkPilot::websocket_opened(TimePoint now) {
  if (websocket_ != Socket::Opening) return;  // closed in the meantime
  websocket_ = Socket::Open;
  websocket_trouble_.clear();
  if (asked_ != kNever) race(now);
}

void LinkPilot::websocket_ended(const std::string& why, TimePoint now) {
  const bool was_wanted = websocket_ != Socket::Closed;
  websocket_ = Socket::Closed;
  retry_websocket_ = now + kRetryWebsocket;
  if (!was_wanted) return;
  if (why != websocket_trouble_) report(LinkReport::Kind::WebsocketFailed, {}, why);
  websocket_trouble_ = why;
  if (state_ != State::Up || carrier_ != Carrier::Websocket) return;
  lose(now);
}

void LinkPilot::slept(Duration gap, TimePoint now) {
  if (state_ == State::Stopped) return;
  if (state_ == State::Up) {
    state_ = State::Lost;
    since_ = now;
  }
  if (gap > Duration::zero()) slept_ = slept_.value_or(Duration::zero()) + gap;
  drop_websocket(now);
  unanswered_ = 0;
  begin(now);
}

// What else may bring an answer to the waiting initiation.
void LinkPilot::race(TimePoint now) {
  if (!sent_elsewhere_ && now - asked_ >= kElsewhereAfter) {
    sent_elsewhere_ = true;
    act(LinkAction::SendElsewhere);
  }
  if (!has_websocket_ || now - asked_ < race_delay()) return;
  if (websocket_ == Socket::Open && !sent_by_websocket_) {
    sent_by_websocket_ = true;
    act(LinkAction::SendByWebsocket);
  } else if (websocket_ == Socket::Closed && now >= retry_websocket_) {
    websocket_ = Socket::Opening;
    act(LinkAction::OpenWebsocket);
  }
}

// The initiation has waited for long: once more, or it is said.
void LinkPilot::repeat(TimePoint now) {
  if (now - asked_ < kRepeatAfter) return;
  if (std::exchange(may_repeat_, false)) {
    act(LinkAction::Initiate);
  } else if (state_ == State::Trying && unanswered_ >= kLostAfter && !told_unanswered_) {
    told_unanswered_ = true;
    report(LinkReport::Kind::Unanswered, now - since_, websocket_trouble_);
  }
}

void LinkPilot::probe(TimePoint now) {
  next_probe_ = now + kProbeEach;
  probe_until_ = now + kProbeWait;
  act(LinkAction::Probe);
}

void LinkPilot::tick(TimePoint now) {
  if (state_ == State::Stopped) return;
  if (probe_until_ != kNever) {
    if (now < probe_until_) return;
    // Not answered. The gateway may have heard it and now answer by UDP: a handshake by WebSocket
    // brings it back.
    probe_until_ = kNever;
    good_probes_ = 0;
    act(LinkAction::UseWebsocket);
    return;
  }
  if (resolve_again_ <= now) {
    begin(now);
  } else if (asked_ != kNever) {
    repeat(now);
    race(now);
  } else if (next_probe_ <= now) {
    probe(now);
  }
}

TimePoint LinkPilot::next_tick() const {
  if (state_ == State::Stopped) return kNever;
  if (probe_until_ != kNever) return probe_until_;
  if (asked_ == kNever) return next_probe_;
  TimePoint next = resolve_again_;
  if (!sent_elsewhere_) next = std::min<TimePoint>(next, asked_ + kElsewhereAfter);
  const bool will_tell = state_ == State::Trying && unanswered_ >= kLostAfter && !told_unanswered_;
  if (may_repeat_ || will_tell) next = std::min<TimePoint>(next, asked_ + kRepeatAfter);
  if (!has_websocket_) return next;
  if (websocket_ == Socket::Open && !sent_by_websocket_) {
    next = std::min<TimePoint>(next, asked_ + race_delay());
  } else if (websocket_ == Socket::Closed) {
    next = std::min<TimePoint>(next, std::max<TimePoint>(asked_ + race_delay(), retry_websocket_));
  }
  return next;
}

}  // namespace rooster::tunnel
