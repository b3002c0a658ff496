// Tunnel: after an upgrade's 101 the bytes of both sides pass unchanged. A WebSocket's frames are
// counted, so that a stop can say GoAway (Close 1001) between two frames instead of cutting one.
#pragma once

#include "core/loop.hpp"
#include "core/stream.hpp"
#include "machines/load.hpp"
#include "proxy/websocket_frames.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

namespace rooster::proxy {

struct WorkerContext;

struct TunnelSetup {
  WorkerContext& context;
  Stream& client;
  Stream& app;
  std::string_view from_client = {};  ///< read already, to be passed on first
  std::string_view from_app = {};
  Waiter& waiter;
  const machines::MachineLoad* load = nullptr;  ///< of the machine it leads to
  bool is_websocket = false;
  std::optional<std::chrono::milliseconds> idle;  ///< [rooster] tunnel_idle
  /// Called once, when the app has said something, or has taken the connection for a while.
  std::function<void()> settled{};
};

/// What a tunnel carried and why it ended.
struct TunnelEnd {
  bool client_done = false;  ///< the client said all it had, and the app's side took it
  bool app_done = false;     ///< and the other way round
  bool app_broke = false;    ///< the app's side was lost

  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  Fault fault = Fault::None;  ///< None: one of the two sides ended it
};

/// In WorkerContext::tunnels (a ring of Tunnels) while it runs, so that a stopping machine or a
/// drain can reach it.
class Tunnel : public Link {
 public:
  explicit Tunnel(const TunnelSetup& setup);

  Task<TunnelEnd> run();
  /// Ends it: a WebSocket with Close 1001 at the next frame boundary of each side, anything else at
  /// once.
  void go_away(Fault why);
  const machines::MachineLoad* load() const { return load_; }
  bool is_websocket() const { return is_websocket_; }

 private:
  enum class Phase : std::uint8_t { Open, Leaving };
  bool move_up();
  bool move_down();
  bool pass_to_client(std::string_view bytes);
  bool pass_to_app(std::string_view bytes);
  bool say_go_away();
  bool is_over() const;
  bool app_broke();
  void settle();
  TimePoint deadline() const;
  Task<bool> wait();

  WorkerContext& context_;
  std::string_view first_up_;  // read before the tunnel began
  std::string_view first_down_;
  Stream& down_;  // the client's
  Stream& up_;    // the app's
  Waiter& waiter_;
  const machines::MachineLoad* load_;
  bool is_websocket_;
  std::optional<std::chrono::milliseconds> idle_;
  std::function<void()> settled_;
  TimePoint settle_by_ = kNever;
  Phase phase_ = Phase::Open;
  TimePoint leave_by_ = kNever;
  TimePoint last_byte_;
  WebSocketFrames from_client_;
  WebSocketFrames from_app_;
  bool told_client_ = false;
  bool told_app_ = false;
  bool client_ended_ = false;
  bool app_ended_ = false;
  bool broken_ = false;
  TunnelEnd end_;
};

}  // namespace rooster::proxy
