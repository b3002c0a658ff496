// How a waiter goes:
//   1. arrive(): refused at once, passed at once, or queued; the first that may wake sends the
//   command
//   2. adopt(): a fact says ready -> as many are granted as there are free slots; failed -> all
//   leave
//   3. the granted picks a machine: a Lease, then leave(); or wait_for_slot(), in front of the
//   queue
//   4. slot_free(): a lease was dropped somewhere -> the next is granted
#include "machines/wake_gate.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

namespace rooster::machines {
namespace {

bool needs_connection_each(const config::Service& service) {
  return std::ranges::none_of(service.ports,
                              [](const auto& port) { return port.http_options.h2_backend; });
}

Arrival refused(Fault fault, TimePoint retry_at = {}, Fault cause = Fault::None) {
  return {.kind = Arrival::Kind::Refused, .fault = fault, .cause = cause, .retry_at = retry_at};
}

const WakeState* find_wake(const AppView& view, const std::string& group) {
  auto found = std::ranges::find(view.wakes, group, &WakeState::group);
  return found != view.wakes.end() ? &*found : nullptr;
}

// An operator has no address.
std::string source_of(const WakeAttempt& attempt) {
  return attempt.source == IpAddress() ? "operator" : attempt.source.to_string();
}

std::string reason_of(const WakeAttempt& attempt) {
  if (attempt.only_sni) return "sni";
  if (attempt.method.empty()) return "tcp";
  constexpr std::size_t kMaxReasonBytes = 200;  // the ledger is a ring of short entries
  std::string reason(attempt.method);
  reason.append(" ").append(attempt.path.substr(0, kMaxReasonBytes));
  return reason;
}

}  // namespace

std::uint32_t lease_limit(const MachineView& machine, const config::Service& service) {
  return machine.load->in_flight_limit(service.concurrency, needs_connection_each(service));
}

std::size_t free_slots(const AppView& view, const config::Service& service) {
  std::size_t free = 0;
  for (const MachineView& machine : view.machines) {
    if (!machine.routable || !view.carries(machine, service)) continue;
    const LoadWord word = machine.load->read();
    if (word.closed || word.generation != machine.load_generation) continue;
    const std::uint32_t limit = lease_limit(machine, service);
    if (word.in_flight < limit) free += limit - word.in_flight;
  }
  return free;
}

WaitingLimits::WaitingLimits(std::size_t max_waiting, std::size_t max_bytes)
    : max_(max_waiting),
      max_one_app_(max_waiting * limits::kWaitingShareOfOneApp / 100),
      max_bytes_(max_bytes) {}

WaitingPlace::WaitingPlace(WaitingPlace&& other) noexcept
    : limits_(std::exchange(other.limits_, nullptr)),
      app_(std::move(other.app_)),
      bytes_(other.bytes_),
      beyond_(other.beyond_) {}

WaitingPlace& WaitingPlace::operator=(WaitingPlace&& other) noexcept {
  if (this != &other) {
    give_back();
    limits_ = std::exchange(other.limits_, nullptr);
    app_ = std::move(other.app_);
    bytes_ = other.bytes_;
    beyond_ = other.beyond_;
  }
  return *this;
}

WaitingPlace WaitingPlace::take(WaitingLimits& limits, std::shared_ptr<AppWaiting> app,
                                std::size_t bytes) {
  // Count first, look then: never over a bound, at worst one too few under a race at the bound.
  // Relaxed: only numbers, nothing is published through them.
  constexpr auto kRelaxed = std::memory_order_relaxed;
  WaitingPlace place;
  if (bytes > limits::kWaitingBytesEach) return place;
  const std::size_t of_app = app->count.fetch_add(1, kRelaxed) + 1;
  place.limits_ = &limits;
  place.app_ = std::move(app);
  place.bytes_ = bytes;
  place.beyond_ = of_app > limits::kWaitingGuaranteed;
  const std::size_t total = limits.total_.fetch_add(1, kRelaxed) + 1;
  const std::size_t all_bytes = limits.bytes_.fetch_add(bytes, kRelaxed) + bytes;
  bool fits = total <= limits.max_ && all_bytes <= limits.max_bytes_;
  if (place.beyond_) {
    const std::size_t beyond = limits.beyond_.fetch_add(1, kRelaxed) + 1;
    fits = fits && of_app <= limits.max_one_app_ && beyond <= limits.max_one_app_;
  }
  if (!fits) place.give_back();
  return place;
}

void WaitingPlace::give_back() {
  WaitingLimits* limits = std::exchange(limits_, nullptr);
  if (!limits) return;
  limits->total_.fetch_sub(1, std::memory_order_relaxed);
  limits->bytes_.fetch_sub(bytes_, std::memory_order_relaxed);
  if (beyond_) limits->beyond_.fetch_sub(1, std::memory_order_relaxed);
  app_->count.fetch_sub(1, std::memory_order_relaxed);
  app_.reset();
}

void WaitNode::leave() {
  if (gate_) gate_->leave(*this);
  state_ = State::Out;
}

WakeGate::WakeGate(WorkerId worker, WaitingLimits& limits, GateSignals signals)
    : worker_(worker), limits_(limits), signals_(std::move(signals)) {}

WakeGate::~WakeGate() {
  fail_all(Fault::Draining);
  for (auto& [id, app] : apps_) unmark(app);
  assert(std::ranges::all_of(apps_, [](const auto& entry) {
    return std::ranges::all_of(entry.second.queues, [](const auto& q) { return q->granted == 0; });
  }));
}

Arrival WakeGate::arrive(WaitNode& node, const AppViewPtr& view, const Arriving& who) {
  assert(node.gate_ == nullptr);
  // Nearly every request: nobody waits here and the app is ready.
  if (apps_.empty() && !view->removed && view->wake_of(*who.service).phase == WakePhase::Ready) {
    return {};
  }
  const AppViewPtr& known = newest(view);
  const WakeState* wake = find_wake(*known, view->wake_of(*who.service).group);
  if (!wake || known->removed) return refused(Fault::NoRoute);
  if (wake->phase == WakePhase::Ready) {
    auto app = apps_.find(view->id);
    if (app == apps_.end() || queue_of(app->second, wake->group).size == 0) return {};
    return queue(node, view, who, false);
  }
  if (auto refusal = this->refusal(*known, *wake, who)) return *refusal;
  return queue(node, view, who, false);
}

std::optional<Arrival> WakeGate::refusal(const AppView& view, const WakeState& wake,
                                         const Arriving& who) const {
  if (wake.phase == WakePhase::Waking) return std::nullopt;
  if (wake.phase == WakePhase::Failed && wake.retry_at > who.now) {
    if (wake.retry_at == kNever) return refused(wake.fault, kNever);
    return refused(Fault::WakeBackoff, wake.retry_at, wake.fault);
  }
  if (!wake.autostart) return refused(Fault::AutostartOff, kNever);
  if (wake.phase == WakePhase::Stopping && wake.stop_ends_at > who.deadline) {
    return refused(Fault::StopPending, wake.stop_ends_at);
  }
  if (may_wake(view.config->rooster.wake, who.attempt)) return std::nullopt;
  // Not let to wake it: may still join those whose wake is already asked for.
  auto app = apps_.find(view.id);
  if (app != apps_.end()) {
    for (const auto& queue : app->second.queues) {
      if (queue->group == wake.group && queue->commanded == wake.generation) return std::nullopt;
    }
  }
  return refused(Fault::WakePolicy);
}

Arrival WakeGate::queue(WaitNode& node, const AppViewPtr& view, const Arriving& who,
                        bool in_front) {
  const AppViewPtr known = newest(view);
  if (!node.place_) node.place_ = WaitingPlace::take(limits_, known->waiting, who.bytes);
  if (!node.place_) return refused(Fault::WakeQueueFull);
  App& app = app_of(known);
  const WakeState& wake = *find_wake(*known, view->wake_of(*who.service).group);
  WaitQueue& queue = queue_of(app, wake.group);
  node.gate_ = this;
  node.queue_ = &queue;
  node.view_ = view;
  node.service_ = who.service;
  node.deadline_ = who.deadline;
  node.generation_ = wake.generation;
  node.fault_ = Fault::None;
  enqueue(queue, node, in_front);
  if (!queue.waker && may_wake(known->config->rooster.wake, who.attempt)) {
    queue.waker = WakeCommand{.app = view->id,
                              .group = wake.group,
                              .source = source_of(who.attempt),
                              .reason = reason_of(who.attempt),
                              .machine = std::string(who.attempt.machine)};
  }
  const bool is_on = wake.phase == WakePhase::Ready || wake.phase == WakePhase::Waking;
  if (!is_on) send_wake(app, queue, wake, who.now);
  return {.kind = Arrival::Kind::Queued};
}

Arrival WakeGate::wait_for_slot(WaitNode& node, const AppViewPtr& view, const Arriving& who) {
  const bool was_granted = node.state_ == WaitNode::State::Granted;
  if (was_granted) {
    --node.queue_->granted;
    node.gate_ = nullptr;
    node.queue_ = nullptr;
    node.state_ = WaitNode::State::Out;
  }
  const AppViewPtr known = newest(view);
  const WakeState* wake = find_wake(*known, view->wake_of(*who.service).group);
  Arrival arrival;
  if (!wake || known->removed) {
    arrival = refused(Fault::NoRoute);
  } else if (auto refusal = wake->phase == WakePhase::Ready ? std::nullopt
                                                            : this->refusal(*known, *wake, who)) {
    arrival = *refusal;
  } else {
    arrival = queue(node, view, who, was_granted);
  }
  if (arrival.kind == Arrival::Kind::Refused) node.place_.give_back();
  if (arrival.kind == Arrival::Kind::Queued && wake->phase == WakePhase::Ready) {
    // Look once more, after the mark: a slot that was dropped before it told nobody.
    node.is_arriving_ = true;
    grant_free_slots(apps_.at(view->id), *node.queue_);
    node.is_arriving_ = false;
    if (node.state_ == WaitNode::State::Granted) arrival.kind = Arrival::Kind::Pass;
  }
  forget_if_drained(view->id);
  return arrival;
}

Fault WakeGate::wake_machine(const AppViewPtr& view, const Arriving& who) const {
  const WakeState& wake = view->wake_of(*who.service);
  if (!wake.autostart) return Fault::AutostartOff;
  if (!may_wake(view->config->rooster.wake, who.attempt)) return Fault::WakePolicy;
  signals_.wake({.app = view->id,
                 .group = wake.group,
                 .generation = wake.generation,
                 .asked_at = who.now,
                 .source = source_of(who.attempt),
                 .reason = reason_of(who.attempt),
                 .machine = std::string(who.attempt.machine)});
  return Fault::None;
}

void WakeGate::adopt(const AppViewPtr& view, TimePoint now) {
  auto found = apps_.find(view->id);
  if (found == apps_.end()) return;
  App& app = found->second;
  if (app.view->epoch > view->epoch) return;
  const bool was_marked = !app.marked.empty();
  unmark(app);  // the machines may have changed; serve() marks again where somebody still waits
  app.view = view;
  for (const auto& queue : app.queues) serve(app, *queue, now);
  if (was_marked && app.marked.empty()) tell_next(app);
  forget_if_drained(view->id);
}

void WakeGate::serve(App& app, WaitQueue& queue, TimePoint now) {
  const WakeState* wake = find_wake(*app.view, queue.group);
  if (app.view->removed || !wake) return fail_queue(queue, Fault::NoRoute, {});
  switch (wake->phase) {
    case WakePhase::Ready:
      return grant_free_slots(app, queue);
    case WakePhase::Waking:
      return;
    case WakePhase::Asleep:
      if (!wake->autostart) return fail_queue(queue, Fault::AutostartOff, kNever);
      if (!queue.waker) return fail_queue(queue, Fault::WakePolicy, {});
      return send_wake(app, queue, *wake, now);
    case WakePhase::Stopping:
      if (!wake->autostart) return fail_queue(queue, Fault::AutostartOff, kNever);
      fail_those_who_cannot_wait(queue, *wake);
      return send_wake(app, queue, *wake, now);
    case WakePhase::Failed:
      for (WaitNode* node = queue.first; node != nullptr;) {
        WaitNode* next = node->next_;
        if (node->generation_ < wake->generation || wake->retry_at == kNever) {
          settle(*node, WaitNode::State::Failed, wake->fault, wake->retry_at);
        }
        node = next;
      }
      return send_wake(app, queue, *wake, now);
  }
}

void WakeGate::fail_those_who_cannot_wait(WaitQueue& queue, const WakeState& wake) {
  for (WaitNode* node = queue.first; node != nullptr;) {
    WaitNode* next = node->next_;
    if (wake.stop_ends_at > node->deadline_) {
      settle(*node, WaitNode::State::Failed, Fault::StopPending, wake.stop_ends_at);
    }
    node = next;
  }
}

void WakeGate::grant_free_slots(App& app, WaitQueue& queue) {
  grant_while_free(app, queue);
  if (queue.size == 0) return;
  mark(app);
  grant_while_free(app, queue);
}

void WakeGate::grant_while_free(App& app, WaitQueue& queue) {
  const config::Service* counted = nullptr;
  std::size_t free = 0;
  while (queue.first) {
    if (queue.first->service_ != counted) {
      counted = queue.first->service_;
      free = free_slots(*app.view, *counted);
    }
    if (free <= queue.granted) return;
    settle(*queue.first, WaitNode::State::Granted, Fault::None, {});
  }
}

void WakeGate::slot_free(AppId id) {
  auto found = apps_.find(id);
  if (found == apps_.end()) return;
  App& app = found->second;
  for (const auto& queue : app.queues) {
    const WakeState* wake = find_wake(*app.view, queue->group);
    if (wake && wake->phase == WakePhase::Ready) grant_free_slots(app, *queue);
  }
  forget_if_drained(id);
}

void WakeGate::slot_released(MachineLoad& load) {
  const auto next = load.next_waiting_worker();
  if (!next) return;
  if (*next == worker_) return slot_free(load.app());
  signals_.slot_free(*next, load.app());
}

void WakeGate::leave(WaitNode& node) {
  const AppId id = node.queue_->app;
  WaitQueue& queue = *node.queue_;
  const bool was_granted = node.state_ == WaitNode::State::Granted;
  if (node.state_ == WaitNode::State::Queued) unlink(node);
  if (was_granted) --queue.granted;
  node.gate_ = nullptr;
  node.queue_ = nullptr;
  node.place_.give_back();
  node.view_.reset();
  App& app = apps_.at(id);
  // It may have left without a lease: the slot that was its own is the next one's.
  const WakeState* wake = find_wake(*app.view, queue.group);
  if (was_granted && wake && wake->phase == WakePhase::Ready) grant_free_slots(app, queue);
  forget_if_drained(id);
}

void WakeGate::fail_all(Fault fault) {
  for (auto& [id, app] : apps_) {
    for (const auto& queue : app.queues) fail_queue(*queue, fault, {});
  }
  std::vector<AppId> ids;
  for (const auto& entry : apps_) ids.push_back(entry.first);
  for (AppId id : ids) forget_if_drained(id);
}

std::size_t WakeGate::waiting(AppId id) const {
  auto found = apps_.find(id);
  if (found == apps_.end()) return 0;
  std::size_t sum = 0;
  for (const auto& queue : found->second.queues) sum += queue->size;
  return sum;
}

WakeGate::App& WakeGate::app_of(const AppViewPtr& view) {
  App& app = apps_[view->id];
  if (!app.view || app.view->epoch < view->epoch) app.view = view;
  return app;
}

WaitQueue& WakeGate::queue_of(App& app, const std::string& group) {
  auto found = std::ranges::find(app.queues, group, &WaitQueue::group);
  if (found != app.queues.end()) return **found;
  app.queues.push_back(std::make_unique<WaitQueue>());
  app.queues.back()->app = app.view->id;
  app.queues.back()->group = group;
  return *app.queues.back();
}

const AppViewPtr& WakeGate::newest(const AppViewPtr& view) const {
  auto found = apps_.find(view->id);
  if (found == apps_.end() || found->second.view->epoch < view->epoch) return view;
  return found->second.view;
}

void WakeGate::enqueue(WaitQueue& queue, WaitNode& node, bool in_front) {
  node.state_ = WaitNode::State::Queued;
  node.previous_ = in_front ? nullptr : queue.last;
  node.next_ = in_front ? queue.first : nullptr;
  (node.previous_ ? node.previous_->next_ : queue.first) = &node;
  (node.next_ ? node.next_->previous_ : queue.last) = &node;
  ++queue.size;
  ++waiting_;
}

void WakeGate::unlink(WaitNode& node) {
  WaitQueue& queue = *node.queue_;
  (node.previous_ ? node.previous_->next_ : queue.first) = node.next_;
  (node.next_ ? node.next_->previous_ : queue.last) = node.previous_;
  node.previous_ = node.next_ = nullptr;
  --queue.size;
  --waiting_;
  if (queue.size == 0) queue.waker.reset();
}

void WakeGate::settle(WaitNode& node, WaitNode::State state, Fault fault, TimePoint retry_at) {
  unlink(node);
  node.state_ = state;
  node.fault_ = fault;
  node.retry_at_ = retry_at;
  if (state == WaitNode::State::Granted) {
    ++node.queue_->granted;
  } else {
    node.place_.give_back();
    node.gate_ = nullptr;
    node.queue_ = nullptr;
    node.view_.reset();
  }
  if (!node.is_arriving_) node.resume_();
}

void WakeGate::fail_queue(WaitQueue& queue, Fault fault, TimePoint retry_at) {
  while (queue.first) settle(*queue.first, WaitNode::State::Failed, fault, retry_at);
}

void WakeGate::send_wake(App& app, WaitQueue& queue, const WakeState& wake, TimePoint now) {
  if (queue.size == 0 || !queue.waker || queue.commanded == wake.generation) return;
  queue.commanded = wake.generation;
  WakeCommand command = *queue.waker;
  command.app = app.view->id;
  command.generation = wake.generation;
  command.asked_at = now;
  signals_.wake(std::move(command));
}

void WakeGate::mark(App& app) {
  if (!app.marked.empty()) return;
  for (const MachineView& machine : app.view->machines) {
    if (!machine.load) continue;
    machine.load->add_waiter(worker_);
    app.marked.push_back(machine.load);
  }
}

void WakeGate::unmark(App& app) {
  for (const auto& load : app.marked) load->remove_waiter(worker_);
  app.marked.clear();
}

// Between a releaser's look at the bits and our clearing of them a slot may have been told to us
// alone: hand it on.
void WakeGate::tell_next(const App& app) {
  for (const MachineView& machine : app.view->machines) {
    if (!machine.load || !machine.routable) continue;
    const LoadWord word = machine.load->read();
    if (word.closed) continue;
    if (auto next = machine.load->next_waiting_worker(); next && *next != worker_) {
      return signals_.slot_free(*next, machine.load->app());
    }
  }
}

void WakeGate::forget_if_drained(AppId id) {
  auto found = apps_.find(id);
  if (found == apps_.end()) return;
  App& app = found->second;
  bool empty = true;
  for (const auto& queue : app.queues) {
    if (queue->size > 0) return;
    empty = empty && queue->granted == 0;
  }
  if (!app.marked.empty()) {
    unmark(app);
    tell_next(app);
  }
  if (empty) apps_.erase(found);
}

}  // namespace rooster::machines
