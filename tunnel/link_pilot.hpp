// LinkPilot: a client's decisions about its one link: when to try another address, when WebSocket,
// when to go back to UDP, what to tell the user. Pure: told what happened and what time it is, it
// says what to do.
//
//   start -> Trying -- established --> Up(UDP)  <-- two good probes -- Up(WebSocket)
//               ^  300 ms: WebSocket too            each 60 s a probe by UDP
//               +-- two initiations unanswered, sleep, the WebSocket's end --+
#pragma once

#include "core/time.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace rooster::tunnel {

/// What carries the link.
enum class Carrier : std::uint8_t { Udp, Websocket };

struct LinkReport {
  enum class Kind : std::uint8_t {
    Connected,    ///< for the first time; `after` since start
    Unanswered,   ///< two initiations without an answer, never connected; `detail` knows more
    Lost,         ///< `after`: without an answer so long
    Reconnected,  ///< `after` the loss
    Woke,         ///< connected again after the process slept for `after`
    ToWebsocket,
    ToUdp,
    WebsocketFailed,  ///< `detail` says why
    Unresolved,       ///< no address to send to; `detail` says why
  };
  Kind kind;
  Duration after{};
  std::string detail{};
  Carrier carrier = Carrier::Udp;
};

enum class LinkAction : std::uint8_t {
  Resolve,        ///< the endpoints' names, then initiate() by UDP
  SendElsewhere,  ///< the waiting initiation to the other UDP endpoints
  OpenWebsocket,
  CloseWebsocket,
  SendByWebsocket,  ///< the waiting initiation
  Probe,            ///< initiate by UDP once, the link stays where it is
  UseWebsocket,     ///< the link's endpoint is the WebSocket again; initiate there
  Initiate,         ///< where the link is
};

class LinkPilot {
 public:
  /// `has_websocket`: there is one to open.
  explicit LinkPilot(bool has_websocket) : has_websocket_(has_websocket) {}

  void start(TimePoint now);
  /// Resolve found nothing, and no earlier address is known.
  void unresolved(const std::string& why, TimePoint now);
  /// The Device put an initiation in its output.
  void initiated(TimePoint now);
  /// The Device has a fresh session, which `carrier` brought.
  void established(Carrier carrier, TimePoint now);
  /// The Device stopped trying.
  void gave_up(TimePoint now);
  void websocket_opened(TimePoint now);
  /// Also: it could not be opened.
  void websocket_ended(const std::string& why, TimePoint now);
  /// Sessions were dropped; `gap` is 0 where only the wall clock was set.
  void slept(Duration gap, TimePoint now);
  void tick(TimePoint now);
  /// When tick() has something to do.
  TimePoint next_tick() const;

  bool is_up() const { return state_ == State::Up; }
  Carrier carrier() const { return carrier_; }
  /// What to do, in order; empties itself.
  std::vector<LinkAction> take_actions() { return std::exchange(actions_, {}); }
  std::vector<LinkReport> take_reports() { return std::exchange(reports_, {}); }

 private:
  enum class State : std::uint8_t { Stopped, Trying, Up, Lost };
  enum class Socket : std::uint8_t { Closed, Opening, Open };
  void act(LinkAction action) { actions_.push_back(action); }
  void report(LinkReport::Kind kind, Duration after = {}, std::string detail = {});
  void begin(TimePoint now);
  void race(TimePoint now);
  void lose(TimePoint now);
  void drop_websocket(TimePoint now);
  void repeat(TimePoint now);
  void probe(TimePoint now);
  void settle(Carrier carrier, TimePoint now);
  Duration race_delay() const;

  bool has_websocket_;
  State state_ = State::Stopped;
  Carrier carrier_ = Carrier::Udp;
  Socket websocket_ = Socket::Closed;
  TimePoint since_{};  // start, loss
  std::optional<Duration> slept_;
  TimePoint asked_ = kNever;     // the initiation that waits for its answer
  TimePoint retry_websocket_{};  // not before
  int unanswered_ = 0;           // initiations in a row
  bool may_repeat_ = false;      // soon, once: a lost packet must not cost the Device's 5 s
  bool told_unanswered_ = false;
  TimePoint resolve_again_ = kNever;
  bool sent_elsewhere_ = false;  // the waiting one
  bool sent_by_websocket_ = false;
  TimePoint next_probe_ = kNever;  // by UDP, while the link is a WebSocket
  TimePoint probe_until_ = kNever;
  int good_probes_ = 0;
  std::string websocket_trouble_;
  std::string resolve_trouble_;
  std::vector<LinkAction> actions_;
  std::vector<LinkReport> reports_;
};

}  // namespace rooster::tunnel
