// PeerTimers: when something is next due for one peer (paper §6). Pure: events with their time in,
// deadlines out; the Device does what is due.
//
//   retry        5 s after an initiation without answer; 18 tries, then it gives up (§6.4)
//   keepalive    10 s after receiving data with nothing to send back (§6.5)
//   no answer    15 s after sending data without receiving anything: new handshake (§6.5)
//   zero keys    540 s after the last new session (§6.3)
//   persistent   the interval an operator gave, after the last datagram either way
#pragma once

#include "core/time.hpp"

#include <chrono>
#include <cstdint>

namespace rooster::tunnel {

using namespace std::chrono_literals;

inline constexpr auto kRekeyAfterTime = 120s;
inline constexpr auto kRejectAfterTime = 180s;
inline constexpr auto kRekeyTimeout = 5s;
inline constexpr auto kKeepaliveTimeout = 10s;
inline constexpr auto kNoAnswerTimeout = kKeepaliveTimeout + kRekeyTimeout;
/// A receiver who began the session rekeys this late, so that it need not when it sends.
inline constexpr auto kRekeyOnReceive = kRejectAfterTime - kNoAnswerTimeout;
inline constexpr auto kZeroKeysAfter = 3 * kRejectAfterTime;
inline constexpr int kMaxTries = 18;  // 90 s (§6.4)
inline constexpr std::uint64_t kRekeyAfterMessages = std::uint64_t{1} << 60;
/// No more than 50 initiations a second from one peer are taken (as every implementation does).
inline constexpr auto kInitiationInterval = 20ms;

/// 0 to 333 ms, so that two peers don't begin at once for ever (§6.1). Not secret.
class Jitter {
 public:
  explicit Jitter(std::uint64_t seed) : state_(seed | 1) {}
  Duration next();

 private:
  std::uint64_t state_;
};

class PeerTimers {
 public:
  // What happened.
  void data_sent(TimePoint now, Jitter& jitter);  ///< not a keepalive
  void data_received(TimePoint now);              ///< not a keepalive
  void datagram_sent(TimePoint now);              ///< any authenticated one
  void datagram_received(TimePoint now);          ///< any authenticated one
  void initiation_sent(TimePoint now, Jitter& jitter);
  void handshake_done();  ///< retries are over
  void session_made(TimePoint now) { zero_keys_ = now + kZeroKeysAfter; }
  void set_persistent(std::chrono::seconds interval, TimePoint first);
  void set_patience(Duration keepalive, Duration no_answer) {
    keepalive_after_ = keepalive;
    no_answer_after_ = no_answer;
  }
  void retry_at(TimePoint when) { retry_ = when; }
  /// Nothing of a session is left to wait for; the persistent keepalive begins anew at `now`.
  void reset(TimePoint now);

  // What is due: each tells once, and forgets.
  bool take_retry(TimePoint now) { return take(retry_, now); }
  bool take_keepalive(TimePoint now);
  bool take_no_answer(TimePoint now) { return take(no_answer_, now); }
  bool take_zero_keys(TimePoint now) { return take(zero_keys_, now); }
  bool take_persistent(TimePoint now);

  bool is_retry_set() const { return retry_ != kNever; }
  bool is_zero_keys_set() const { return zero_keys_ != kNever; }
  void cancel_keepalive() { keepalive_ = kNever; }
  TimePoint next() const;

 private:
  static bool take(TimePoint& deadline, TimePoint now) {
    if (now < deadline) return false;
    deadline = kNever;
    return true;
  }

  Duration keepalive_after_ = kKeepaliveTimeout;
  Duration no_answer_after_ = kNoAnswerTimeout;
  TimePoint retry_ = kNever;
  TimePoint keepalive_ = kNever;
  TimePoint no_answer_ = kNever;
  TimePoint zero_keys_ = kNever;
  TimePoint persistent_ = kNever;
  std::chrono::seconds interval_{0};
  bool is_keepalive_again_ = false;  ///< more data came while one was due
};

}  // namespace rooster::tunnel
