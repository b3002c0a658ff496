#include "proxy/may_retry.hpp"

#include "core/limits.hpp"

namespace rooster::proxy {

bool may_retry(const Error& error, Method method, BodyState body, ResponseState response,
               Attempts attempts) {
  if (attempts.made >= (attempts.forced ? 1 : limits::kMaxAttempts)) return false;
  if (response != ResponseState::Nothing || body == BodyState::Gone) return false;
  if (error.origin() == Origin::Client) return false;  // it left, or its request is broken
  // It may still be at work on the first: another copy would make an overloaded app slower yet.
  if (error.fault == Fault::UpstreamTimeout) return false;
  return error.reached == Reached::No || is_idempotent(method);
}

}  // namespace rooster::proxy
