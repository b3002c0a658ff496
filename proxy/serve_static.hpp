// serve_static(): what an app's [[statics]] answer without the app, which sleeps on.
#pragma once

#include "config/app_config.hpp"
#include "core/loop.hpp"
#include "core/task.hpp"
#include "proxy/relay.hpp"
#include "proxy/sides.hpp"

#include <cstdint>
#include <optional>
#include <string_view>

namespace rooster::proxy {

struct WorkerContext;
struct StaticFile;

struct StaticRequest {
  WorkerContext& context;
  ClientSide& client;
  Waiter& waiter;
  const RequestHead& head;
  const config::AppConfig& app;  ///< outlives the answer
  const config::HttpOptions& options;
  std::string_view request_id;
};

/// True: answered. False: no file of the app's statics, so it is the app's. Errors: what broke; the
/// facts say how far it had come.
Task<bool> serve_static(StaticRequest request, RelayFacts& facts);

/// What of a file a request gets (RFC 9110 §13, §14).
struct StaticAnswer {
  std::uint16_t status = 200;
  std::uint64_t first = 0;
  std::uint64_t length = 0;  ///< bytes of body, also where they aren't sent (HEAD)
};

/// Pure. One range is honoured; several, or one we don't understand, give the whole.
StaticAnswer answer_static(const RequestHead& head, const StaticFile& file);

}  // namespace rooster::proxy
