// splice: bytes both ways between two streams, half-closes kept, until both sides have ended or one
// breaks. Raw TCP, `rooster proxy`.
#pragma once

#include "core/stream.hpp"
#include "core/task.hpp"

#include <cstdint>
#include <span>

namespace rooster::net {

/// What passed, and how it ended.
struct Spliced {
  std::uint64_t forth = 0;  ///< a to b
  std::uint64_t back = 0;   ///< b to a
  bool a_broke = false;     ///< reset, not an orderly end
  bool b_broke = false;
  bool a_ended_first = true;        ///< whose end of bytes came first
  Fault interrupted = Fault::None;  ///< by the waiter
};

/// `buffer` may be shared by all splices of one loop: it is used only between two suspensions. One
/// side's bytes are not read while the other still has pending ones. The streams stay the caller's:
/// where one broke, reset() the other.
Task<Spliced> splice(Stream& a, Stream& b, Waiter& waiter, std::span<char> buffer);

/// Makes the coming close of `stream` a reset, so that its peer doesn't take a cut for an end.
void reset_at_close(Stream& stream);

}  // namespace rooster::net
