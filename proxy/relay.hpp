// Relay: step 5 of an exchange. The request goes to the app, the response to the client, both
// bodies at once.
#pragma once

#include "config/app_config.hpp"
#include "core/limits.hpp"
#include "core/loop.hpp"
#include "core/task.hpp"
#include "proxy/compression.hpp"
#include "proxy/pace.hpp"
#include "proxy/sides.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace rooster::proxy {

struct WorkerContext;

struct RelaySetup {
  WorkerContext& context;
  ClientSide& client;
  UpstreamSide& upstream;
  Waiter& waiter;
  const RequestHead& head;
  const config::HttpOptions& options;  ///< of the port the request came to
  std::string_view request_id;
  std::string_view
      wake_timing;  ///< Server-Timing of the wake this request waited for; "": it did not
  std::string_view set_cookie = {};  ///< session affinity's, beside the app's own; "": none
};

/// How far one attempt has come; the exchange decides by it what an error means.
struct RelayFacts {
  TimePoint sent_at{};  ///< when the head was given to the app's side
  TimePoint head_at{};  ///< when the response's head was complete
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  std::uint16_t status = 0;
  bool request_done = false;    ///< the request's body was read to its end
  bool response_begun = false;  ///< a final head was encoded for the client
  bool response_done = false;
  bool response_reusable = false;
  bool is_upgrade = false;  ///< the app said 101: from now on it is a tunnel
};

/// How much is read at once: more while the other side takes all of it, little for one that does
/// not, so that a slow side never has much waiting for it.
class ReadSize {
 public:
  std::size_t bytes() const { return bytes_; }
  void took(std::size_t piece, bool all) {
    if (!all) {
      bytes_ = limits::kRelayBytes;
    } else if (piece >= bytes_ / 2) {
      bytes_ = std::min(2 * bytes_, limits::kMaxRelayBytes);
    }
  }

 private:
  std::size_t bytes_ = limits::kRelayBytes;
};

class Relay {
 public:
  Relay(const RelaySetup& setup, RelayFacts& facts);

  /// Ends with the whole response, or after a 101. Errors: what broke; the facts say how far it had
  /// come.
  Task<> run(const Forwarding& forwarding);

 private:
  Result<> pump_request();
  Result<bool> pump_head();
  Result<bool> pump_response();
  Result<> give_compressed(const BodyPiece& piece);
  Result<> check_time(Woke woke);
  TimePoint next_deadline();
  std::uint64_t moved() const;
  bool waits_for_client() const;
  std::string server_timing() const;

  WorkerContext& context_;
  ClientSide& client_;
  UpstreamSide& upstream_;
  Waiter& waiter_;
  const RequestHead& head_;
  const config::HttpOptions& options_;
  const std::string_view request_id_;
  const std::string_view wake_timing_;
  const std::string_view set_cookie_;
  RelayFacts& facts_;
  const bool is_call_;  // gRPC's
  TimePoint last_progress_{};
  Pace pace_;
  ReadSize up_;
  ReadSize down_;
  std::unique_ptr<Compression> compression_;  // null: the body goes as it is
  int interims_ = 0;
  bool request_stuck_ = false;  // the app takes no more of the body
  bool more_to_do_ = false;
  // The response stopped at a full client. Room that a flush makes is told to nobody, and bytes
  // that the other side holds in memory make nothing readable.
  bool client_is_full_ = false;
};

}  // namespace rooster::proxy
