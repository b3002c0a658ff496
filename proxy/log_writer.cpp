#include "proxy/log_writer.hpp"

#include "core/json_text.hpp"
#include "core/log.hpp"
#include "core/log_thread.hpp"

#include <cerrno>
#include <chrono>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace rooster::proxy {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kBatchBytes = 256 * 1024;  // one write to a file
constexpr int kBatchesADrain = 4;
constexpr auto kRetryAfter = 1s;

}  // namespace

LogWriter::LogWriter(std::string target, std::string edge_region, std::vector<AccessRing*> rings)
    : target_(std::move(target)),
      edge_region_(std::move(edge_region)),
      rings_(std::move(rings)),
      drops_told_(rings_.size()) {}

LogWriter::~LogWriter() {
  close_target();
}

void LogWriter::reopen(std::string target) {
  const std::scoped_lock lock(mutex_);
  reopening_ = std::move(target);
}

void LogWriter::take_reopening(TimePoint now) {
  std::optional<std::string> target;
  {
    const std::scoped_lock lock(mutex_);
    target.swap(reopening_);
  }
  if (!target) return;
  // A line that is half in the old file is completed there.
  if (descriptor_ >= 0) flush(now);
  close_target();
  target_ = std::move(*target);
  if (target_.empty()) pending_.clear(), pending_done_ = 0;
  retry_at_ = now;
}

bool LogWriter::open_target(TimePoint now) {
  if (descriptor_ >= 0) return true;
  if (target_ == "-") {
    descriptor_ = STDOUT_FILENO;
    trail_.begin(descriptor_);
    return true;
  }
  // O_NONBLOCK: opening a FIFO that nobody reads fails instead of waiting.
  descriptor_ =
      ::open(target_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0640);
  if (descriptor_ >= 0) {
    trail_.begin(descriptor_);
    return true;
  }
  trouble_ = errno;
  retry_at_ = now + kRetryAfter;
  return false;
}

void LogWriter::close_target() {
  if (descriptor_ >= 0 && descriptor_ != STDOUT_FILENO) ::close(descriptor_);
  descriptor_ = -1;
}

void LogWriter::format_some() {
  pending_.clear();
  pending_done_ = 0;
  const bool is_off = target_.empty();
  AccessRecord record;
  // Each ring has its share of a batch: a busy worker does not keep another's records waiting.
  const std::size_t share = kBatchBytes / (rings_.empty() ? 1 : rings_.size());
  for (AccessRing* ring : rings_) {
    const std::size_t begin = pending_.size();
    std::size_t taken = 0;
    while (pending_.size() - begin < share && taken < limits::kLogRingBytes / 64 &&
           ring->front(record)) {
      if (!is_off) append_access_line(pending_, record, edge_region_);
      ring->pop();
      ++taken;
    }
  }
  note_drops();
}

void LogWriter::note_drops() {
  for (std::size_t i = 0; i < rings_.size(); ++i) {
    const std::uint64_t dropped = rings_[i]->dropped();
    if (dropped == drops_told_[i]) continue;
    if (!target_.empty()) {
      JsonWriter json(pending_);
      json.begin_object().field("time", format_time(std::chrono::system_clock::now()));
      json.field("dropped", dropped - drops_told_[i]).field("worker", i).end_object();
      pending_ += '\n';
    }
    drops_told_[i] = dropped;
  }
}

bool LogWriter::flush(TimePoint now) {
  bool wrote = false;
  while (pending_done_ < pending_.size()) {
    const std::string_view rest = std::string_view(pending_).substr(pending_done_);
    const std::int64_t n = write_without_blocking(descriptor_, rest);
    if (n > 0) {
      pending_done_ += static_cast<std::size_t>(n);
      trouble_ = 0;
      wrote = true;
      trail_.wrote(descriptor_, static_cast<std::uint64_t>(n));
      continue;
    }
    if (n < 0) {
      trouble_ = static_cast<int>(-n);
      retry_at_ = now + kRetryAfter;
      // A full disk may get room; after anything else the file is opened anew.
      if (trouble_ != ENOSPC && trouble_ != EDQUOT) close_target();
    }
    break;
  }
  return wrote;
}

bool LogWriter::drain(TimePoint now) {
  take_reopening(now);
  if (now < retry_at_) return false;
  bool wrote = false;
  for (int batch = 0; batch < kBatchesADrain; ++batch) {
    if (pending_done_ == pending_.size()) format_some();
    if (pending_.empty()) break;
    if (!open_target(now)) break;
    wrote |= flush(now);
    if (pending_done_ < pending_.size()) break;
  }
  return wrote;
}

}  // namespace rooster::proxy
