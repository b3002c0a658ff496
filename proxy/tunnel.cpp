// The flow: both directions move as long as the other side takes bytes, then the coroutine waits
// for whichever side can go on. After go_away() each direction runs on to its next frame boundary,
// gets a Close 1001 there, and the client has five seconds to answer it.
#include "proxy/tunnel.hpp"

#include "proxy/worker_context.hpp"

namespace rooster::proxy {

namespace {

constexpr auto kLeaveTime = std::chrono::seconds(5);
constexpr auto kSettleTime = std::chrono::seconds(1);
constexpr int kPiecesPerTurn = 16;  // then others have their turn

std::string_view as_text(std::span<const unsigned char> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

Tunnel::Tunnel(const TunnelSetup& setup)
    : context_(setup.context),
      first_up_(setup.from_client),
      first_down_(setup.from_app),
      down_(setup.client),
      up_(setup.app),
      waiter_(setup.waiter),
      load_(setup.load),
      is_websocket_(setup.is_websocket),
      idle_(setup.idle),
      settled_(setup.settled),
      last_byte_(setup.context.loop.now()) {
  if (settled_) settle_by_ = last_byte_ + kSettleTime;
  link_before(context_.tunnels);
}

void Tunnel::go_away(Fault why) {
  if (phase_ == Phase::Leaving) return;
  phase_ = Phase::Leaving;
  end_.fault = why;
  leave_by_ = context_.loop.now() + kLeaveTime;
  waiter_.notify();
}

Task<TunnelEnd> Tunnel::run() {
  if (!pass_to_app(first_up_) || !pass_to_client(first_down_)) co_return end_;
  while (!is_over()) {
    if (phase_ == Phase::Leaving && !say_go_away()) break;
    bool moved = false;
    for (int piece = 0; piece < kPiecesPerTurn && !broken_; ++piece) {
      const bool up = move_up();
      const bool down = move_down();
      moved = up || down;
      if (!moved) break;
    }
    if (is_over()) break;
    if (moved) waiter_.notify();  // more to do, after the others' turn
    auto go_on = co_await wait();
    if (!go_on || !*go_on) break;
  }
  end_.client_done = client_ended_ && !up_.has_pending() && !up_.is_broken();
  end_.app_done = app_ended_ && !down_.has_pending() && !down_.is_broken();
  co_return end_;
}

void Tunnel::settle() {
  if (settle_by_ == kNever) return;
  settle_by_ = kNever;
  settled_();
}

bool Tunnel::app_broke() {
  end_.app_broke = true;
  return broken_ = true;
}

bool Tunnel::is_over() const {
  if (broken_) return true;
  if (phase_ == Phase::Leaving) {
    return !is_websocket_ || (told_client_ && told_app_ &&
                              (from_client_.has_close() || client_ended_) && !down_.has_pending());
  }
  return client_ended_ && app_ended_ && !down_.has_pending() && !up_.has_pending();
}

TimePoint Tunnel::deadline() const {
  TimePoint deadline = leave_by_;
  if (idle_) deadline = std::min(deadline, last_byte_ + *idle_);
  return deadline;
}

// True: go on.
Task<bool> Tunnel::wait() {
  // A reset that is known already is met by the next read or write; waiting for it again would
  // spin.
  const auto unless_known = [](Stream& stream) -> Interest {
    const bool known = stream.pollable().is(Pollable::kBroken);
    return {&stream.pollable(), known ? std::uint8_t{0} : Pollable::kBroken};
  };
  Interest down = unless_known(down_);
  Interest up = unless_known(up_);
  if (down_.has_pending()) down.bits |= Pollable::kWritable;
  if (up_.has_pending()) up.bits |= Pollable::kWritable;
  if (!client_ended_ && !up_.has_pending()) down.bits |= Pollable::kReadable;
  if (!app_ended_ && !down_.has_pending()) up.bits |= Pollable::kReadable;
  const Woke woke = co_await waiter_.wait(std::min(deadline(), settle_by_), down, up);
  if (woke == Woke::Interrupted) {
    end_.fault = waiter_.interrupted_by();
    co_return false;
  }
  if (context_.loop.now() >= settle_by_) settle();
  if (woke == Woke::Deadline && context_.loop.now() < deadline()) co_return true;
  if (woke == Woke::Deadline) {
    if (phase_ == Phase::Leaving) {
      if (!told_client_) end_.fault = Fault::MidFrame;
    } else {
      end_.fault = Fault::IdleTimeout;
    }
    co_return false;
  }
  // A side that has ended and is now broken has nothing to say and takes nothing any more.
  if (client_ended_ && down_.pollable().is(Pollable::kBroken)) co_return false;
  if (app_ended_ && up_.pollable().is(Pollable::kBroken)) co_return false;
  co_return true;
}

// Client to app. True: something moved.
bool Tunnel::move_up() {
  if (up_.has_pending()) {
    if (!up_.pollable().is(Pollable::kWritable)) return false;
    if (!up_.flush()) return app_broke();
    if (up_.has_pending()) return false;
  }
  if (client_ended_ || !down_.may_read()) return false;
  const ReadResult got = down_.read(context_.scratch.in_span());
  switch (got.status) {
    case ReadResult::Status::Some:
      return pass_to_app({context_.scratch.in.get(), got.bytes}) || app_broke();
    case ReadResult::Status::Later:
      return false;
    case ReadResult::Status::End:
      client_ended_ = true;
      up_.shutdown_write();
      return true;
    case ReadResult::Status::Failed:
      broken_ = true;
      return true;
  }
  return false;
}

bool Tunnel::move_down() {
  if (down_.has_pending()) {
    if (!down_.pollable().is(Pollable::kWritable)) return false;
    if (!down_.flush()) broken_ = true;
    if (down_.has_pending()) return false;
  }
  if (app_ended_ || !up_.may_read()) return false;
  const ReadResult got = up_.read(context_.scratch.in_span());
  switch (got.status) {
    case ReadResult::Status::Some:
      settle();
      if (!pass_to_client({context_.scratch.in.get(), got.bytes})) broken_ = true;
      return true;
    case ReadResult::Status::Later:
      return false;
    case ReadResult::Status::End:
      app_ended_ = true;
      if (!told_client_) down_.shutdown_write();
      return true;
    case ReadResult::Status::Failed:
      return app_broke();
  }
  return false;
}

bool Tunnel::pass_to_app(std::string_view bytes) {
  if (bytes.empty()) return true;
  last_byte_ = context_.loop.now();
  end_.bytes_in += bytes.size();
  if (!is_websocket_) return up_.write(bytes);
  if (told_app_) {
    from_client_.feed(
        bytes);  // the app was told that this side closed: only the client's Close matters now
    return true;
  }
  if (phase_ == Phase::Leaving) {
    if (const auto until = from_client_.feed_to_boundary(bytes)) {
      if (!up_.write(bytes.substr(0, *until)) || !say_go_away()) return false;
      from_client_.feed(bytes.substr(*until));
      return true;
    }
    return up_.write(bytes);
  }
  from_client_.feed(bytes);
  return up_.write(bytes);
}

bool Tunnel::pass_to_client(std::string_view bytes) {
  if (bytes.empty()) return true;
  last_byte_ = context_.loop.now();
  if (told_client_) return true;  // after our Close nothing may follow
  end_.bytes_out += bytes.size();
  if (!is_websocket_) return down_.write(bytes);
  if (phase_ == Phase::Leaving) {
    if (const auto until = from_app_.feed_to_boundary(bytes)) {
      return down_.write(bytes.substr(0, *until)) && say_go_away();
    }
    return down_.write(bytes);
  }
  from_app_.feed(bytes);
  return down_.write(bytes);
}

// Puts a Close into each direction that stands between two frames. False: a side is broken, or it
// is no WebSocket.
bool Tunnel::say_go_away() {
  if (!is_websocket_) return false;
  if (!told_client_ && from_app_.at_boundary()) {
    told_client_ = true;
    if (!from_app_.has_close() && !down_.write(as_text(kGoAwayFrame))) return false;
  }
  if (!told_app_ && from_client_.at_boundary()) {
    told_app_ = true;
    const std::uint64_t random = context_.random();
    const auto frame = masked_go_away_frame(
        {static_cast<unsigned char>(random), static_cast<unsigned char>(random >> 8),
         static_cast<unsigned char>(random >> 16), static_cast<unsigned char>(random >> 24)});
    if (!from_client_.has_close() && !up_.write(as_text(frame))) return false;
  }
  return true;
}

}  // namespace rooster::proxy
