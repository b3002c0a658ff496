// Looking at what a client has sent without taking it: the first bytes of a connection decide what
// serves it, and whatever that is reads them again.
#pragma once

#include "core/loop.hpp"
#include "core/stream.hpp"
#include "core/task.hpp"

#include <cstddef>
#include <span>
#include <string_view>

namespace rooster::proxy {

/// What is here by now, as much as `into` holds; "" where nothing is known to be.
std::string_view peek(const Stream& stream, std::span<char> into);

/// Waits for bytes beyond those of the last peek(). Errors: ClientLeft, HeadTimeout, the
/// interruption's.
Task<> wait_for_more(Stream& stream, Waiter& waiter, TimePoint deadline);

/// Takes `bytes` that peek() has shown. False: the connection broke.
bool skip(Stream& stream, std::span<char> scratch, std::size_t bytes);

}  // namespace rooster::proxy
