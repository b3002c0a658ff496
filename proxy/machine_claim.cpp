// The flow of acquire():
//   1. arrive()         passes, is refused, or is queued
//   2. wait_at_gate()   until granted, failed, too late, or the client has left; then the route
//   anew
//   3. try_pick()       a machine and a lease on it; where all are full: back to the gate
#include "proxy/machine_claim.hpp"

#include "proxy/worker_context.hpp"

#include <algorithm>
#include <utility>

namespace rooster::proxy {

namespace {

constexpr int kPicksPerTurn = 8;  // lost races for a lease before the gate decides

}  // namespace

MachineClaim::MachineClaim(WorkerContext& context, Waiter& waiter, Claimant& claimant)
    : context_(context),
      waiter_(waiter),
      claimant_(claimant),
      started_(context.loop.now()),
      node_([&waiter] { waiter.notify(); }) {}

void MachineClaim::aim(const machines::AppViewPtr& view, const config::Service& service,
                       LeaseKind kind) {
  aim(view);
  service_ = &service;
  kind_ = kind;
}

void MachineClaim::aim(const machines::AppViewPtr& view) {
  view_ = view;
  service_ = nullptr;
  kind_ = LeaseKind::Awake;
  machine_ = nullptr;  // it was the old view's
  tried_.clear();
  renew_counters();
}

void MachineClaim::renew_counters() {
  counters_ = &context_.metrics.apps.of(view_->id, metric_seconds(context_.loop.now()));
}

machines::Arriving MachineClaim::arriving() const {
  return {.service = service_,
          .attempt = claimant_.wake_attempt(),
          .now = context_.loop.now(),
          .deadline = started_ + Duration(view_->config->rooster.wake_timeout),
          .bytes = claimant_.held_bytes()};
}

Task<> MachineClaim::acquire() {
  using Kind = machines::Arrival::Kind;
  bool arrived = attempts_ > 0;
  if (std::exchange(was_refused_, false)) {
    auto waited = co_await let_news_come();
    if (!waited) co_return waited.error();
  }
  for (int picks = 0;; ++picks) {
    machines::Arrival arrival;
    if (!arrived) {
      arrival = context_.gate.arrive(node_, view_, arriving());
      arrived = true;
    }
    if (arrival.kind == Kind::Pass && picks < kPicksPerTurn) {
      if (try_pick()) {
        node_.leave();
        ++attempts_;
        co_return {};
      }
      arrival = context_.gate.wait_for_slot(node_, view_, arriving());
      if (arrival.kind == Kind::Pass) continue;
    }
    if (arrival.kind == Kind::Refused) {
      retry_at_ = arrival.retry_at;
      co_return Error(arrival.fault, Reached::No);
    }
    if (arrival.kind == Kind::Pass) co_return Error(Fault::NoHealthyMachine, Reached::No);
    if (context_.draining) {  // nobody begins to wait any more
      node_.leave();
      co_return Error(Fault::Draining, Reached::No);
    }
    if (!claimant_.may_wait()) {
      node_.leave();
      co_return Error(Fault::PeerLimit, Reached::No);
    }
    auto waited = co_await wait_at_gate();
    if (!waited) co_return waited.error();
    picks = 0;
    // The app may have been changed or removed meanwhile: what counts is how it stands now.
    auto again = claimant_.find_route();
    if (!again) co_return again.error();
  }
}

// Only where there is no other machine to go to.
Task<> MachineClaim::let_news_come() {
  const auto other =
      pick_machine(*view_, *service_, tried_, context_.random(), claimant_.steering());
  if (other) co_return {};
  const Woke woke = co_await waiter_.wait(context_.loop.now() + limits::kTick);
  if (woke == Woke::Interrupted) co_return Error(waiter_.interrupted_by(), Reached::No);
  auto again = claimant_.find_route();
  if (!again) co_return again.error();
  co_return {};
}

// Held: the claimant's memory is lent back meanwhile, and one that leaves stops counting at once.
Task<> MachineClaim::wait_at_gate() {
  const TimePoint began = context_.loop.now();
  // The coordinator gives up at wake_timeout and says why; this deadline is for the case that it
  // says nothing.
  const TimePoint deadline =
      started_ + Duration(view_->config->rooster.wake_timeout) + 2 * Duration(limits::kTick);
  did_wait_ = true;
  counters_->holds.add();
  counters_->waiting.add(1);
  context_.metrics.waiting.add(1);
  claimant_.park();
  Result<> result;
  while (node_.state() == machines::WaitNode::State::Queued) {
    const TimePoint look_again = claimant_.still_waiting(*context_.view(view_->id));
    const Woke woke = co_await waiter_.wait(std::min(deadline, look_again), claimant_.departure());
    if (woke == Woke::Interrupted) {
      result = fail(waiter_.interrupted_by());
    } else if (claimant_.has_left()) {
      result = fail(Fault::ClientLeft);
    } else if (woke == Woke::Deadline &&
               context_.loop.now() >= std::min(deadline, waiter_.limit())) {
      result = fail(Error(wait_fault(), Reached::No));
    } else {
      continue;
    }
    break;
  }
  claimant_.unpark();
  context_.metrics.waiting.add(-1);
  renew_counters();
  counters_->waiting.add(-1);
  const Duration took = context_.loop.now() - began;
  waited_ += took;
  counters_->hold_us.add(static_cast<std::uint64_t>(took / std::chrono::microseconds(1)));
  if (result && node_.state() == machines::WaitNode::State::Failed) {
    retry_at_ = node_.retry_at();
    result = fail(Error(node_.fault(), Reached::No));
  }
  if (!result) {
    node_.leave();
    co_return result.error();
  }
  co_return {};
}

// Why the wait was in vain, as far as this worker knows.
Fault MachineClaim::wait_fault() const {
  const machines::AppViewPtr& now = context_.view(view_->id);
  switch (now->wakes[now->group_of(*service_)].phase) {
    case machines::WakePhase::Ready:
      return Fault::CapacityTimeout;
    case machines::WakePhase::Stopping:
      return Fault::StopPending;
    case machines::WakePhase::Asleep:
    case machines::WakePhase::Waking:
    case machines::WakePhase::Failed:
      return Fault::WakeTimeout;
  }
  return Fault::WakeTimeout;
}

bool MachineClaim::try_pick() {
  const Steering steering = claimant_.steering();
  auto choice = pick_machine(*view_, *service_, tried_, context_.random(), steering);
  if (!choice && choice.error() == NoMachine::AllTried) {
    // No other machine is left: a new connection to the same one is the next best attempt.
    tried_.clear();
    choice = pick_machine(*view_, *service_, tried_, context_.random(), steering);
  }
  if (!choice) return false;
  if (!take(*choice)) return false;
  tried_.add(*choice);
  return true;
}

bool MachineClaim::acquire_awake(std::size_t machine) {
  if (!take(machine)) return false;
  ++attempts_;
  return true;
}

bool MachineClaim::take(std::size_t index) {
  machine_ = &view_->machines[index];
  machines::MachineLoad& load = *machine_->load;
  const std::uint16_t generation = machine_->load_generation;
  const bool is_unbounded =
      kind_ == LeaseKind::Awake && (service_ == nullptr || !load.is_starting_slowly());
  if (is_unbounded) {
    lease_ = machines::Lease::try_take_awake(load, generation, &context_.gate);
  } else {
    const std::uint32_t limit = kind_ == LeaseKind::Counted
                                    ? machines::lease_limit(*machine_, *service_)
                                    : load.in_flight_limit({});
    lease_ = machines::Lease::try_take(load, generation, limit, &context_.gate);
  }
  if (!lease_) return false;
  holds_slot_ = !is_unbounded && load.try_open_connection();
  counters_->concurrency.add(1);
  return true;
}

void MachineClaim::become_tunnel() {
  machines::MachineLoad& load = lease_.load();
  if (kind_ == LeaseKind::Awake) {
    lease_.only_keep_awake();
    if (std::exchange(holds_slot_, false)) load.close_connection();
  } else if (holds_slot_ && lease_.become_tunnel(service_->concurrency)) {
    holds_slot_ = false;
  }
  load.response_seen();
  if (load.has_waiters()) context_.gate.slot_released(load);
}

void MachineClaim::drop() {
  if (!lease_) return;
  counters_->concurrency.add(-1);
  if (std::exchange(holds_slot_, false)) lease_.load().close_connection();
  lease_.drop();
}

}  // namespace rooster::proxy
