#include "app/shutdown.hpp"

namespace rooster::app {

namespace {

// A WebSocket has five seconds to answer the Close; what is still there a second later is cut.
constexpr auto kLeaveTime = std::chrono::seconds(6);

}  // namespace

Shutdown::Shutdown(Parts parts)
    : parts_(std::move(parts)), timer_(parts_.loop, [this] {
        if (next_step_ != nullptr) (this->*next_step_)();
      }) {
  parts_.log.info("draining: no further requests are taken");
  next_step_ = &Shutdown::drain;
  timer_.set(Clock::now() + parts_.lame_duck);
}

void Shutdown::drain() {
  if (std::exchange(is_draining_, true)) return;
  draining_ = parts_.workers.size();
  for (auto& worker : parts_.workers) {
    worker->drain([this] { parts_.loop.post([this] { worker_drained(); }); });
  }
  next_step_ = &Shutdown::leave;
  if (parts_.drain_timeout.count() > 0) timer_.set(Clock::now() + parts_.drain_timeout);
}

void Shutdown::leave() {
  for (auto& worker : parts_.workers) worker->go_away();
  next_step_ = &Shutdown::cut;
  timer_.set(Clock::now() + kLeaveTime);
}

void Shutdown::cut() {
  if (std::exchange(is_cut_, true)) return;
  parts_.log.warn("drain_timeout has passed: what is left is cut");
  for (auto& worker : parts_.workers) worker->cut();
}

void Shutdown::hurry() {
  drain();
  cut();
}

void Shutdown::worker_drained() {
  if (--draining_ == 0) stop_machines();
}

void Shutdown::stop_machines() {
  timer_.cancel();
  parts_.control.stop_machines([this] { parts_.done(); });
}

}  // namespace rooster::app
