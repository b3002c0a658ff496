// WakeGate: where the exchanges of one worker wait, either for their app to wake or for a slot on a
// machine that is at its limit. Belongs to one worker's thread: no locks; what other threads must
// hear goes out through GateSignals.
#pragma once

#include "core/fault.hpp"
#include "core/ids.hpp"
#include "core/limits.hpp"
#include "core/time.hpp"
#include "machines/app_view.hpp"
#include "machines/load.hpp"
#include "machines/wake_policy.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace rooster::machines {

/// "Wake this group of this app": idempotent, never awaited (worker -> control).
struct WakeCommand {
  AppId app{};
  std::string group{};
  std::uint64_t generation = 0;  ///< of the WakeState it was decided on
  TimePoint asked_at{};
  std::string source{};  ///< client's address, for the ledger
  std::string reason{};  ///< "GET /", "tcp", "sni"
  /// The machine that is wanted, by id; started beside others that run. "": whichever is nearest.
  std::string machine{};
  /// A TLS hello's: the address that must be able to pay for it, as there is no request yet.
  std::optional<IpAddress> hello_from{};
};

/// What the gate says to other threads. Called on the gate's own thread; must not call back into
/// the gate.
struct GateSignals {
  std::function<void(WakeCommand)> wake;           ///< post to control
  std::function<void(WorkerId, AppId)> slot_free;  ///< post slot_free to another worker
};

/// How many may wait in all and in how many bytes (decisions-edge.md 10). One for all workers.
class WaitingLimits {
 public:
  explicit WaitingLimits(std::size_t max_waiting, std::size_t max_bytes = limits::kWaitingBytes);

  std::size_t waiting() const { return total_.load(std::memory_order_relaxed); }
  std::size_t waiting_bytes() const { return bytes_.load(std::memory_order_relaxed); }
  std::size_t max_waiting() const { return max_; }

 private:
  friend class WaitingPlace;
  const std::size_t max_;
  const std::size_t
      max_one_app_;  // 85 %: of one app, and of all apps' waiters beyond their guaranteed places
  const std::size_t max_bytes_;
  std::atomic<std::size_t> total_{0};
  std::atomic<std::size_t> beyond_{0};
  std::atomic<std::size_t> bytes_{0};
};

/// One app's waiters on all workers; shared by the app's successive views.
struct AppWaiting {
  std::atomic<std::size_t> count{0};
};

/// One place taken in the limits; given back when it ends.
class WaitingPlace {
 public:
  WaitingPlace() = default;
  WaitingPlace(WaitingPlace&& other) noexcept;
  WaitingPlace& operator=(WaitingPlace&& other) noexcept;
  ~WaitingPlace() { give_back(); }

  /// An empty place if a bound is reached.
  static WaitingPlace take(WaitingLimits& limits, std::shared_ptr<AppWaiting> app,
                           std::size_t bytes);
  explicit operator bool() const { return limits_ != nullptr; }
  void give_back();

 private:
  WaitingLimits* limits_ = nullptr;
  std::shared_ptr<AppWaiting> app_;
  std::size_t bytes_ = 0;
  bool beyond_ = false;
};

class WakeGate;
struct WaitQueue;

/// One waiting exchange; lives in its coroutine's frame. Leaves the gate when it ends, whatever
/// happened.
class WaitNode {
 public:
  enum class State : std::uint8_t {
    Out,      ///< not at the gate
    Queued,   ///< waits
    Granted,  ///< may pick a machine now; must end in leave() or wait_for_slot() again
    Failed,   ///< see fault(), retry_at()
  };

  /// `resume` is called once, on the gate's thread, when the state has become Granted or Failed. It
  /// may only make the waiter runnable (Waiter::notify()), not run it.
  explicit WaitNode(std::function<void()> resume) : resume_(std::move(resume)) {}
  WaitNode(const WaitNode&) = delete;
  WaitNode& operator=(const WaitNode&) = delete;
  ~WaitNode() { leave(); }

  State state() const { return state_; }
  Fault fault() const { return fault_; }
  TimePoint retry_at() const { return retry_at_; }

  /// Leaves the gate: the client went, the deadline passed, or a Lease was taken. Idempotent.
  void leave();

 private:
  friend class WakeGate;
  std::function<void()> resume_;
  WakeGate* gate_ = nullptr;
  WaitQueue* queue_ = nullptr;
  WaitNode* previous_ = nullptr;
  WaitNode* next_ = nullptr;
  AppViewPtr view_;  // the view it arrived with: keeps service_ alive
  const config::Service* service_ = nullptr;
  std::uint64_t generation_ =
      0;  // of the WakeState it waits under: only a later failure is its own
  TimePoint deadline_ = kNever;
  WaitingPlace place_;
  State state_ = State::Out;
  bool is_arriving_ = false;  // granted inside its own call: no need to resume it
  Fault fault_ = Fault::None;
  TimePoint retry_at_{};
};

/// Who arrives and what it brings.
struct Arriving {
  const config::Service* service = nullptr;  ///< of the view's config
  WakeAttempt attempt;
  TimePoint now{};
  TimePoint deadline = kNever;  ///< when it stops waiting by itself (the caller's timer)
  std::size_t bytes = 0;        ///< of its request held meanwhile
};

/// What became of an arrival.
struct Arrival {
  enum class Kind : std::uint8_t {
    Pass,     ///< ready and nobody waits: pick a machine
    Queued,   ///< suspend until the node's resume is called
    Refused,  ///< `fault`; may be tried again at `retry_at` (0: not known, kNever: not without an
              ///< operator)
  };
  Kind kind = Kind::Pass;
  Fault fault = Fault::None;
  Fault cause = Fault::None;  ///< WakeBackoff: what the wake failed of
  TimePoint retry_at{};
};

/// The waiters of one process group, first come first served.
struct WaitQueue {
  AppId app{};
  std::string group{};
  WaitNode* first = nullptr;
  WaitNode* last = nullptr;
  std::size_t size = 0;
  std::size_t granted = 0;                   ///< granted, not yet left
  std::optional<std::uint64_t> commanded{};  ///< generation of the last wake command
  std::optional<WakeCommand> waker{};        ///< of the first that may wake, to be sent again
};

class WakeGate : public SlotSink {
 public:
  WakeGate(WorkerId worker, WaitingLimits& limits, GateSignals signals);
  WakeGate(const WakeGate&) = delete;
  ~WakeGate() override;

  /// Step 6 of an exchange: passes at once if the app is ready and nobody waits, else queues `node`
  /// (sending one wake command per generation if the policy allows it), or refuses.
  Arrival arrive(WaitNode& node, const AppViewPtr& view, const Arriving& who);

  /// Step 7 found every machine at its limit (or closed meanwhile): queues `node`, in front if it
  /// was Granted, at the end otherwise. Pass: a slot has become free this moment (the node may be
  /// Granted), pick again; bound how often.
  Arrival wait_for_slot(WaitNode& node, const AppViewPtr& view, const Arriving& who);

  /// Has a machine started that sleeps beside others of its group, so that nobody waits in a queue
  /// for it: `who.attempt.machine`. None, or why not.
  Fault wake_machine(const AppViewPtr& view, const Arriving& who) const;

  /// A fact arrived: grants, fails or keeps the app's waiters, as its WakeStates say. Sends a wake
  /// command again if waiters are left and the app fell asleep.
  void adopt(const AppViewPtr& view, TimePoint now);

  /// slot_free arrived for this worker.
  void slot_free(AppId app);

  /// A lease of this worker was dropped while somebody waits (Lease calls it).
  void slot_released(MachineLoad& load) override;

  /// Fails all that wait (shutdown).
  void fail_all(Fault fault);

  std::size_t waiting() const { return waiting_; }
  std::size_t waiting(AppId app) const;

 private:
  friend class WaitNode;
  struct App {
    AppViewPtr view;  // the newest seen
    std::vector<std::unique_ptr<WaitQueue>> queues;
    std::vector<std::shared_ptr<MachineLoad>> marked;  // loads that carry our waiters bit
  };

  App& app_of(const AppViewPtr& view);
  WaitQueue& queue_of(App& app, const std::string& group);
  const AppViewPtr& newest(const AppViewPtr& view) const;
  std::optional<Arrival> refusal(const AppView& view, const WakeState& wake,
                                 const Arriving& who) const;
  Arrival queue(WaitNode& node, const AppViewPtr& view, const Arriving& who, bool in_front);
  void enqueue(WaitQueue& queue, WaitNode& node, bool in_front);
  void unlink(WaitNode& node);
  void leave(WaitNode& node);
  void settle(WaitNode& node, WaitNode::State state, Fault fault, TimePoint retry_at);
  void fail_queue(WaitQueue& queue, Fault fault, TimePoint retry_at);
  void serve(App& app, WaitQueue& queue, TimePoint now);
  void fail_those_who_cannot_wait(WaitQueue& queue, const WakeState& wake);
  void grant_free_slots(App& app, WaitQueue& queue);
  void grant_while_free(App& app, WaitQueue& queue);
  void send_wake(App& app, WaitQueue& queue, const WakeState& wake, TimePoint now);
  void mark(App& app);
  void unmark(App& app);
  void tell_next(const App& app);
  void forget_if_drained(AppId id);

  const WorkerId worker_;
  WaitingLimits& limits_;
  const GateSignals signals_;
  std::unordered_map<AppId, App> apps_;  // only those with a waiter or one granted
  std::size_t waiting_ = 0;
};

/// The limit that Lease::try_take wants for an exchange of `service` on `machine`.
std::uint32_t lease_limit(const MachineView& machine, const config::Service& service);

/// Leases free on the view's routable machines that carry `service`.
std::size_t free_slots(const AppView& view, const config::Service& service);

}  // namespace rooster::machines
