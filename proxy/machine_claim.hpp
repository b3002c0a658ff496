// MachineClaim: steps 6 and 7 of whatever needs a machine, an exchange or a TCP session: it waits
// at the wake gate until the app has a ready machine, picks one, and holds the lease on it.
#pragma once

#include "core/loop.hpp"
#include "core/metrics.hpp"
#include "core/task.hpp"
#include "machines/app_view.hpp"
#include "machines/wake_gate.hpp"
#include "proxy/pick_machine.hpp"

#include <cstddef>
#include <cstdint>

namespace rooster::proxy {

struct WorkerContext;

/// Who claims. Called on its worker's thread, from within acquire().
class Claimant {
 public:
  /// Where it wants to go as things stand now, told by MachineClaim::aim(): the app may have been
  /// changed or removed while it waited. Errors: why there is no such place any more.
  virtual Result<> find_route() = 0;
  virtual machines::WakeAttempt wake_attempt() const = 0;
  virtual Steering steering() const = 0;
  /// Bytes held for it while it waits.
  virtual std::size_t held_bytes() const = 0;

  /// May it wait for a wake, or for a slot? Asked before park().
  virtual bool may_wait() { return true; }
  /// It is about to wait long, or no longer.
  virtual void park() = 0;
  virtual void unpark() = 0;
  /// Becomes ready when the client may have left.
  virtual Interest departure() = 0;
  virtual bool has_left() const = 0;
  /// How its wait stands; called at least whenever something happened to it. Returns when it wants
  /// to hear of it again.
  virtual TimePoint still_waiting(const machines::AppView&) { return kNever; }

 protected:
  ~Claimant() = default;
};

/// What the lease counts as.
enum class LeaseKind : std::uint8_t {
  Counted,  ///< against the service's limits
  Awake,    ///< it only keeps the machine awake; but a slow start it waits for too
};

class MachineClaim {
 public:
  MachineClaim(WorkerContext& context, Waiter& waiter, Claimant& claimant);
  MachineClaim(const MachineClaim&) = delete;
  ~MachineClaim() { drop(); }

  /// Sets or changes what is claimed: a machine of `view` that carries `service` (of its config).
  void aim(const machines::AppViewPtr& view, const config::Service& service,
           LeaseKind kind = LeaseKind::Counted);
  /// The same for a port of no service: no wake, no limits; acquire_awake() goes with it.
  void aim(const machines::AppViewPtr& view);

  /// Waits, picks, and takes the lease. Again after a failed attempt: another machine, if there is
  /// one. Errors: why the wake failed, WakeQueueFull, CapacityTimeout, ClientLeft, Draining, ...;
  /// Reached::No.
  Task<> acquire();
  /// Takes an awake lease on the machine of this index in view()->machines. False: it is closing,
  /// or has been started anew meanwhile.
  bool acquire_awake(std::size_t machine);
  /// The app has answered, and what goes on is a tunnel or a TCP session: it gives its part of the
  /// slow start back, and without a hard_limit its connection slot.
  void become_tunnel();
  /// The machine refused the connection. It may have just exited, which control learns a moment
  /// later: where there is no other, acquire() gives it that moment.
  void connect_failed() { was_refused_ = true; }
  /// Drops the lease, if there is one; the machine stays known.
  void drop();
  /// Gives up a grant that was not used: it is the next one's.
  void leave_gate() { node_.leave(); }

  explicit operator bool() const { return static_cast<bool>(lease_); }
  const machines::AppViewPtr& view() const { return view_; }  ///< null before aim()
  const config::Service& service() const { return *service_; }
  /// The last one that was picked from the present view; null before.
  const machines::MachineView* machine() const { return machine_; }
  machines::MachineLoad& load() const { return lease_.load(); }
  AppCounters* counters() const { return counters_; }
  /// Asks for the app's counters again: they may have been given away over a long wait.
  void renew_counters();

  int attempts() const { return attempts_; }
  bool did_wait() const { return did_wait_; }
  Duration waited() const { return waited_; }
  /// Refused: when to try again; 0: not known.
  TimePoint retry_at() const { return retry_at_; }

 private:
  machines::Arriving arriving() const;
  Task<> wait_at_gate();
  Task<> let_news_come();
  Fault wait_fault() const;
  bool try_pick();
  bool take(std::size_t index);

  WorkerContext& context_;
  Waiter& waiter_;
  Claimant& claimant_;
  const TimePoint started_;
  machines::WaitNode node_;
  machines::AppViewPtr view_;
  const config::Service* service_ = nullptr;
  LeaseKind kind_ = LeaseKind::Counted;
  const machines::MachineView* machine_ = nullptr;
  machines::Lease lease_;
  PickHistory tried_;
  AppCounters* counters_ = nullptr;
  TimePoint retry_at_{};
  Duration waited_{};
  int attempts_ = 0;
  bool did_wait_ = false;
  bool was_refused_ = false;
  bool holds_slot_ = false;  // one of the machine's upstream connections is ours
};

}  // namespace rooster::proxy
