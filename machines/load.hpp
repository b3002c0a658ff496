// MachineLoad: the one atomic word that says how busy a machine is, and Lease, the only thing that
// changes it. Workers take and drop leases; control opens and closes the word. Nobody locks.
#pragma once

#include "config/app_config.hpp"
#include "core/ids.hpp"
#include "core/limits.hpp"
#include "core/time.hpp"

#include <atomic>
#include <cstdint>
#include <optional>
#include <utility>

namespace rooster::machines {

/// What one read of the word says.
struct LoadWord {
  std::uint16_t generation =
      0;               ///< counts the machine's starts: an old view can't lease a new start
  bool closed = true;  ///< no further lease; set by control only
  std::uint32_t takes =
      0;  ///< leases ever taken, modulo 2^23: defeats ABA between a read and its CAS
  std::uint32_t in_flight = 0;  ///< leases held now

  static LoadWord unpack(std::uint64_t word);
  std::uint64_t pack() const;
};

/// Load of one machine; shared by all threads for as long as the machine is configured.
class alignas(64) MachineLoad {
 public:
  /// `app` goes into slot_free messages. A new word is closed.
  explicit MachineLoad(AppId app) : app_(app) {}
  MachineLoad(const MachineLoad&) = delete;
  MachineLoad& operator=(const MachineLoad&) = delete;

  AppId app() const { return app_; }

  // Any worker.

  /// Takes one lease unless the word is closed, of another generation, or at `limit`.
  bool try_take(std::uint16_t generation, std::uint32_t limit);

  /// Drops one lease; the drop to zero stores idle_since first.
  void release();

  LoadWord read() const { return LoadWord::unpack(word_.load(std::memory_order_acquire)); }
  std::uint32_t in_flight() const { return read().in_flight; }

  /// Boot milliseconds of the last drop to zero (or of reopen); meaningful while in_flight is 0.
  std::int64_t idle_since() const { return idle_since_.load(std::memory_order_relaxed); }

  /// Upstream connections this machine takes now: slow start's window, at most the cap.
  std::uint32_t connection_limit() const;
  /// Counts one more upstream connection (of all workers) unless at connection_limit().
  bool try_open_connection();
  void close_connection();
  std::uint32_t connections() const { return connections_.load(std::memory_order_relaxed); }
  /// A response has come back: the slow start's window doubles each time it was filled once.
  void response_seen();
  /// It got ready a moment ago, and takes fewer connections than its cap.
  bool is_starting_slowly() const {
    return window_.load(std::memory_order_relaxed) <
           connection_cap_.load(std::memory_order_relaxed);
  }

  /// How many leases one service may hold: hard_limit, and where each exchange needs a connection
  /// of its own (HTTP/1, TCP) also connection_limit(), beside the tunnels and the awake leases.
  std::uint32_t in_flight_limit(const config::Concurrency& concurrency,
                                bool connection_each = true) const;

  /// Leases that became tunnels without a hard_limit: they count as load, not against
  /// connection_limit().
  void add_tunnel() { tunnels_.fetch_add(1, std::memory_order_relaxed); }
  void remove_tunnel() { tunnels_.fetch_sub(1, std::memory_order_relaxed); }

  /// Marks that `worker` has exchanges waiting for a lease here. After it, try once more: a lease
  /// that was dropped before the mark posts nothing.
  void add_waiter(WorkerId worker);
  void remove_waiter(WorkerId worker);
  bool has_waiters() const { return waiters_mask_.load(std::memory_order_seq_cst) != 0; }
  /// The worker to tell that a slot is free, round robin over those that wait; nullopt: none waits.
  std::optional<WorkerId> next_waiting_worker();

  /// Awake leases are held beside every limit.
  void add_awake() { awake_.fetch_add(1, std::memory_order_relaxed); }
  void remove_awake() { awake_.fetch_sub(1, std::memory_order_relaxed); }

  // Control thread only.

  /// Opens the word for a new start: generation + 1, idle from `now_boot_ms`, slow start from the
  /// beginning. Returns the new generation. The word must be closed.
  std::uint16_t reopen(std::int64_t now_boot_ms);
  /// Undoes a close that nobody acted on yet: the same generation goes on, idle from now.
  void reopen_same(std::int64_t now_boot_ms);
  /// Closes iff nothing is in flight and has been so for `idle_timeout`, by CAS of the very word
  /// read.
  bool close_if_idle(std::int64_t now_boot_ms, std::chrono::milliseconds idle_timeout);
  /// Closes whatever is in flight (drain, exit); leases held stay counted until they are dropped.
  void close();
  /// Cap on upstream connections: hard_limit, else max(soft_limit, 256); 0 is raised to 1.
  void set_connection_cap(std::uint32_t cap);

 private:
  const AppId app_;
  std::atomic<std::uint64_t> word_{LoadWord{}.pack()};
  std::atomic<std::int64_t> idle_since_{0};
  std::atomic<std::uint64_t> waiters_mask_{0};
  std::atomic<std::uint32_t> last_told_{kMaxWorkers - 1};
  std::atomic<std::uint32_t> connections_{0};
  std::atomic<std::uint32_t> tunnels_{0};
  std::atomic<std::uint32_t> awake_{0};
  std::atomic<std::uint32_t> connection_cap_{limits::kUpstreamConnections};
  std::atomic<std::uint32_t> window_{limits::kSlowStartConnections};
  std::atomic<std::uint32_t> responses_in_window_{0};
};

/// The cap that set_connection_cap wants for a machine with this service.
std::uint32_t connection_cap(const config::Concurrency& concurrency);

/// Told when a lease was dropped while others wait; the worker's WakeGate.
class SlotSink {
 public:
  virtual ~SlotSink() = default;
  virtual void slot_released(MachineLoad& load) = 0;
};

/// The claim of one exchange, tunnel, session on one machine. Move-only; lives on one worker.
/// The MachineLoad must outlive it: whoever holds a Lease holds the AppView it came from.
class [[nodiscard]] Lease {
 public:
  Lease() = default;
  Lease(Lease&& other) noexcept
      : load_(std::exchange(other.load_, nullptr)),
        sink_(std::exchange(other.sink_, nullptr)),
        is_tunnel_(std::exchange(other.is_tunnel_, false)),
        is_awake_(std::exchange(other.is_awake_, false)) {}
  Lease& operator=(Lease&& other) noexcept {
    if (this != &other) {
      drop();
      load_ = std::exchange(other.load_, nullptr);
      sink_ = std::exchange(other.sink_, nullptr);
      is_tunnel_ = std::exchange(other.is_tunnel_, false);
      is_awake_ = std::exchange(other.is_awake_, false);
    }
    return *this;
  }
  ~Lease() { drop(); }

  /// An empty Lease if the word is closed, of another generation, or at `limit`: pick again, or
  /// wait at the gate.
  static Lease try_take(MachineLoad& load, std::uint16_t generation, std::uint32_t limit,
                        SlotSink* sink) {
    return load.try_take(generation, limit) ? Lease(load, sink) : Lease();
  }

  /// A claim that only keeps the machine awake: of no service, so against no service's limit (a
  /// port of its own address, exec).
  static Lease try_take_awake(MachineLoad& load, std::uint16_t generation, SlotSink* sink) {
    Lease lease = try_take(load, generation, UINT32_MAX, sink);
    if (lease) lease.only_keep_awake();
    return lease;
  }
  /// From now on it is such a claim.
  void only_keep_awake() {
    if (std::exchange(is_awake_, true)) return;
    load_->add_awake();
  }

  explicit operator bool() const { return load_ != nullptr; }
  MachineLoad& load() const { return *load_; }

  /// The exchange became a tunnel or is a TCP session. Without a hard_limit its connection slot is
  /// given back and true returned: the caller then doesn't call close_connection() for it. The
  /// lease stays.
  bool become_tunnel(const config::Concurrency& concurrency) {
    if (concurrency.hard_limit > 0 || is_tunnel_) return false;
    is_tunnel_ = true;
    load_->add_tunnel();
    load_->close_connection();
    return true;
  }

  /// Gives the claim back now; tells one waiting worker if any waits.
  void drop() {
    MachineLoad* load = std::exchange(load_, nullptr);
    if (!load) return;
    if (std::exchange(is_tunnel_, false)) load->remove_tunnel();
    if (std::exchange(is_awake_, false)) load->remove_awake();
    load->release();
    if (sink_ && load->has_waiters()) sink_->slot_released(*load);
  }

 private:
  Lease(MachineLoad& load, SlotSink* sink) : load_(&load), sink_(sink) {}
  MachineLoad* load_ = nullptr;
  SlotSink* sink_ = nullptr;
  bool is_tunnel_ = false;
  bool is_awake_ = false;
};

}  // namespace rooster::machines
