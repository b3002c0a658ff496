// Error and Result: failures are values. An Error carries who failed (by its Fault) and whether a
// retry is safe.
#pragma once

#include "core/fault.hpp"

#include <expected>
#include <string>
#include <utility>

namespace rooster {

/// Can a byte of the request have reached the app? Decides retries (proxy/may_retry.hpp).
enum class Reached : std::uint8_t { No, Maybe };

struct Error {
  Error(Fault fault_, Reached reached_, std::string detail_ = {})
      : fault(fault_), reached(reached_), detail(std::move(detail_)) {}
  explicit Error(Fault fault_, std::string detail_ = {})
      : fault(fault_), detail(std::move(detail_)) {}

  Fault fault;
  Reached reached = Reached::Maybe;
  std::string detail;  ///< for the log, never for the client

  Origin origin() const { return describe(fault).origin; }
};

template <class T = void>
using Result = std::expected<T, Error>;

/// `return fail(Fault::NoRoute, "...")` from any function that yields a Result.
inline std::unexpected<Error> fail(Fault fault, std::string detail = {}) {
  return std::unexpected(Error(fault, std::move(detail)));
}

/// The Error of one Result as the Error of another.
inline std::unexpected<Error> fail(Error error) {
  return std::unexpected(std::move(error));
}

}  // namespace rooster
