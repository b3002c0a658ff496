// The one place that decides whether a failed attempt is tried again (contract 8).
#pragma once

#include "core/error.hpp"
#include "proxy/request_head.hpp"

#include <cstdint>

namespace rooster::proxy {

/// Where the request's body is.
enum class BodyState : std::uint8_t {
  Unread,      ///< there is none, or not a byte of it was taken for the app
  Replayable,  ///< every byte taken so far, up to its end, lies in the replay buffer
  Gone,        ///< some of it can't be sent again
};

enum class ResponseState : std::uint8_t { Nothing, Begun };  ///< Begun: one byte of it was received

struct Attempts {
  int made = 1;         ///< including the one that failed
  bool forced = false;  ///< the client named the machine
};

/// May the request be sent to another machine? Never after a byte of the response; with `reached ==
/// No` always, else only idempotent methods; at most kMaxAttempts, one for a forced machine. Never
/// for what the client itself caused.
bool may_retry(const Error& error, Method method, BodyState body, ResponseState response,
               Attempts attempts);

}  // namespace rooster::proxy
