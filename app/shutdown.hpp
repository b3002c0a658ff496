// Shutdown: what SIGTERM begins. Lame duck, then no further client, waiters refused, what is in
// flight ends by itself; at drain_timeout WebSockets get their GoAway and the rest is cut; then the
// machines stop.
#pragma once

#include "app/control.hpp"
#include "app/worker.hpp"
#include "core/log.hpp"
#include "core/loop.hpp"

#include <functional>
#include <memory>
#include <vector>

namespace rooster::app {

/// Control's thread.
class Shutdown {
 public:
  struct Parts {
    Loop& loop;
    Log& log;
    Control& control;
    std::vector<std::unique_ptr<Worker>>& workers;
    std::chrono::milliseconds lame_duck{0};
    std::chrono::milliseconds drain_timeout{0};  ///< 0: no end
    std::function<void()> done;
  };
  explicit Shutdown(Parts parts);

  /// A second signal: no more waiting for what is in flight.
  void hurry();

 private:
  void drain();
  void leave();
  void cut();
  void worker_drained();
  void stop_machines();

  Parts parts_;
  Timer timer_;
  void (Shutdown::*next_step_)() = nullptr;
  std::size_t draining_ = 0;
  bool is_cut_ = false;
  bool is_draining_ = false;
};

}  // namespace rooster::app
