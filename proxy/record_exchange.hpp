// Step 7 of an exchange: its one log line, its counters, and the wake's timeline for the client.
#pragma once

#include "core/metrics.hpp"
#include "core/time.hpp"
#include "machines/app_view.hpp"
#include "proxy/relay.hpp"
#include "proxy/request_head.hpp"
#include "proxy/sides.hpp"

#include <string>
#include <string_view>

namespace rooster::proxy {

struct WorkerContext;

/// What is known of an exchange at its end. Views and pointers live only for the call.
struct ExchangeStory {
  const RequestHead& head;
  const ClientFacts& client;
  const RelayFacts& relay;
  std::string_view request_id;
  std::string_view client_address;
  WallTime wall{};
  TimePoint started{};
  Duration waited{};
  bool did_wait = false;
  int attempts = 0;
  Fault fault = Fault::None;
  const machines::AppView* view = nullptr;         ///< null where no route was found
  const machines::MachineView* machine = nullptr;  ///< the last one that was picked
  AppCounters* counters = nullptr;
};

/// Counts and logs; never fails, never waits.
void record_exchange(WorkerContext& context, const ExchangeStory& story);

/// The answer to a head that can't be trusted, as an HTTP/1.1 response that closes; it is counted
/// and logged here, for there is no exchange. Empty where the fault has no answer.
std::string refuse_head(WorkerContext& context, const ClientFacts& client, Fault fault);

/// Server-Timing of a wake that a request waited for, without the time to the first byte.
std::string wake_timing(const machines::MachineView& machine, TimePoint started, Duration waited);

}  // namespace rooster::proxy
