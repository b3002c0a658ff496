// The access log. A worker copies one binary record per exchange into its own ring; the log thread
// turns the records of all rings into JSON lines and writes them in batches. No worker ever waits
// for a disk or a pipe.
#pragma once

#include "core/fault.hpp"
#include "core/limits.hpp"
#include "core/metrics.hpp"
#include "core/time.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace rooster::proxy {

enum class HttpVersion : std::uint8_t { Http10, Http11, Http2, Tcp };

/// When a wake's steps were reached, in microseconds since the exchange began to wait.
struct WakeTimeline {
  std::uint32_t queue_us = 0;       ///< until the start was ordered
  std::uint32_t start_us = 0;       ///< until the process ran
  std::uint32_t ready_us = 0;       ///< until the machine was ready
  std::uint32_t first_byte_us = 0;  ///< until the first byte was sent to the app
};

/// One exchange. Views need to live only until AccessRing::push returns.
struct AccessRecord {
  WallTime time{};  ///< when the head was complete
  std::string_view request_id;
  std::string_view app;  ///< "" where no route was found
  std::string_view machine;
  std::string_view region;  ///< the machine's
  std::string_view client;  ///< address without port
  std::string_view method;
  std::string_view host;
  std::string_view target;  ///< cut to fit, and marked
  std::string_view user_agent;
  std::string_view referer;
  std::uint64_t bytes_in = 0;   ///< of the request body
  std::uint64_t bytes_out = 0;  ///< of the response body
  std::uint32_t total_us = 0;
  std::uint32_t queue_us = 0;     ///< waiting for a wake or a slot
  std::uint32_t upstream_us = 0;  ///< from the head sent to the response head received
  WakeTimeline wake;
  std::uint16_t status = 0;
  Fault fault = Fault::None;
  TlsVersion tls = TlsVersion::None;
  HttpVersion version = HttpVersion::Http11;
  std::uint8_t attempts = 0;
  bool target_cut = false;  ///< the ring sets it when the target did not fit
  bool waited = false;      ///< `wake` is filled
};

/// Appends the record as one JSON line with its end.
void append_access_line(std::string& out, const AccessRecord& record, std::string_view edge_region);

/// A ring of records with one writer (a worker) and one reader (the log thread).
class AccessRing {
 public:
  /// Drops are counted in `dropped` (WorkerMetrics::access_log_dropped), which outlives the ring.
  /// `capacity` is a power of two, at least 4 * limits::kLogRecordBytes.
  explicit AccessRing(Counter& dropped, std::size_t capacity = limits::kLogRingBytes);

  /// Copies the record. Full: it is dropped and counted. Worker's thread.
  void push(const AccessRecord& record) noexcept;
  /// Records dropped since the start. Any thread.
  std::uint64_t dropped() const noexcept { return dropped_.read(); }

  /// The oldest record, its views into the ring, until `pop`. False if there is none. Log thread.
  bool front(AccessRecord& record) noexcept;
  void pop() noexcept;

 private:
  std::byte* reserve(std::size_t bytes) noexcept;
  bool may_start_again(std::size_t head, std::size_t offset) noexcept;

  const std::size_t capacity_;
  std::unique_ptr<std::byte[]> bytes_;
  struct alignas(64) WriterSide {
    std::atomic<std::size_t> head{0};  // next byte to write, counted without wrapping
    std::size_t tail_seen = 0;
    std::size_t ask_again_at = 0;
  } writer_;
  Counter& dropped_;
  struct alignas(64) ReaderSide {
    std::atomic<std::size_t> tail{0};
    std::size_t head_seen = 0;
    std::size_t front_bytes = 0;
  } reader_;
};

}  // namespace rooster::proxy
