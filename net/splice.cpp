#include "net/splice.hpp"

#include <sys/socket.h>

namespace rooster::net {
namespace {

constexpr int kPiecesPerTurn = 16;  // then others have their turn

// One direction.
struct Way {
  Stream& from;
  Stream& to;
  std::uint64_t& bytes;
  bool& from_broke;
  bool& to_broke;
  bool ended = false;

  bool is_over() const { return ended && !to.has_pending(); }
  bool wants_bytes() const { return !ended && !to.has_pending(); }

  /// True: something moved.
  bool move(std::span<char> buffer) {
    if (to.has_pending()) {
      if (!to.pollable().is(Pollable::kWritable | Pollable::kBroken)) return false;
      if (!to.flush()) to_broke = true;
      if (to_broke || to.has_pending()) return false;
    }
    if (ended || !from.may_read()) return false;
    const ReadResult got = from.read(buffer);
    switch (got.status) {
      case ReadResult::Status::Some:
        bytes += got.bytes;
        if (!to.write({buffer.data(), got.bytes})) to_broke = true;
        return true;
      case ReadResult::Status::Later:
        return false;
      case ReadResult::Status::End:
        ended = true;
        to.shutdown_write();
        return true;
      case ReadResult::Status::Failed:
        from_broke = true;
        return true;
    }
    return false;
  }
};

// What of `stream` is waited for: as the source of `out`, and the target of `in`.
Interest interest_in(Stream& stream, const Way& out, const Way& in) {
  Interest interest{&stream.pollable(), 0};
  if (out.wants_bytes()) interest.bits |= Pollable::kReadable;
  if (in.to.has_pending()) interest.bits |= Pollable::kWritable;
  // A break that is known already is met by the next read or write; waiting for it would spin.
  if (!stream.pollable().is(Pollable::kBroken)) interest.bits |= Pollable::kBroken;
  return interest;
}

}  // namespace

Task<Spliced> splice(Stream& a, Stream& b, Waiter& waiter, std::span<char> buffer) {
  Spliced end;
  Way forth{a, b, end.forth, end.a_broke, end.b_broke};
  Way back{b, a, end.back, end.b_broke, end.a_broke};
  const auto broke = [&end] { return end.a_broke || end.b_broke; };
  while (!broke() && !(forth.is_over() && back.is_over())) {
    bool moved = false;
    for (int piece = 0; piece < kPiecesPerTurn && !broke(); ++piece) {
      const bool had_end = forth.ended || back.ended;
      const bool forth_moved = forth.move(buffer);
      const bool back_moved = !broke() && back.move(buffer);
      if (!had_end && back.ended && !forth.ended) end.a_ended_first = false;
      moved = forth_moved || back_moved;
      if (!moved) break;
    }
    if (broke() || (forth.is_over() && back.is_over())) break;
    if (moved) waiter.notify();  // more to do, after the others' turn
    const Woke woke =
        co_await waiter.wait(kNever, interest_in(a, forth, back), interest_in(b, back, forth));
    if (woke == Woke::Interrupted) {
      end.interrupted = waiter.interrupted_by();
      break;
    }
    // A side that has ended and has now gone altogether takes nothing any more, and nothing else
    // would tell: what came of it has been sent on, the rest has no reader.
    const bool a_is_gone = forth.is_over() && !back.ended && a.pollable().is(Pollable::kBroken);
    const bool b_is_gone = back.is_over() && !forth.ended && b.pollable().is(Pollable::kBroken);
    if (a_is_gone || b_is_gone) break;
  }
  co_return end;
}

void reset_at_close(Stream& stream) {
  if (stream.tell_reset()) return;
  const linger none{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(stream.fd(), SOL_SOCKET, SO_LINGER, &none, sizeof none);
}

}  // namespace rooster::net
