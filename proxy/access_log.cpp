#include "proxy/access_log.hpp"

#include "core/json_text.hpp"
#include "core/log.hpp"

#include <array>
#include <bit>
#include <cassert>
#include <cstring>

namespace rooster::proxy {
namespace {

constexpr std::array kTexts{&AccessRecord::request_id, &AccessRecord::app,
                            &AccessRecord::machine,    &AccessRecord::region,
                            &AccessRecord::client,     &AccessRecord::method,
                            &AccessRecord::host,       &AccessRecord::user_agent,
                            &AccessRecord::referer,    &AccessRecord::target};

// The longest each text may be; the target, the last, gets what is left of the record.
constexpr std::array<std::size_t, kTexts.size() - 1> kTextBytes{48, 64,  32,  16, 48,
                                                                24, 256, 512, 512};

// A record as it lies in the ring: this, then the texts one after another.
struct Stored {
  std::uint32_t bytes =
      0;  // with the texts, rounded up; the last record before the end may be a gap
  bool is_gap = false;
  bool is_target_cut = false;
  std::uint8_t attempts = 0;
  bool waited = false;
  std::uint16_t status = 0;
  Fault fault = Fault::None;
  TlsVersion tls = TlsVersion::None;
  HttpVersion version = HttpVersion::Http11;
  std::array<std::uint16_t, kTexts.size()> sizes{};
  WallTime time{};
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  std::uint32_t total_us = 0;
  std::uint32_t queue_us = 0;
  std::uint32_t upstream_us = 0;
  WakeTimeline wake;
};

constexpr std::size_t kAlign = 8;
static_assert(sizeof(Stored) + 48 + 64 + 32 + 16 + 48 + 24 + 256 + 512 + 512 + 1024 <
              limits::kLogRecordBytes);

constexpr std::size_t round_up(std::size_t bytes) {
  return (bytes + kAlign - 1) & ~(kAlign - 1);
}

constexpr std::array<std::string_view, 4> kVersions{"1.0", "1.1", "2", "tcp"};
constexpr std::array<std::string_view, 3> kTlsVersions{"", "1.2", "1.3"};

// `,"name":` and the value; names are literals without anything to escape.
void text_field(std::string& out, std::string_view quoted_name, std::string_view text) {
  if (text.empty()) return;
  out += quoted_name;
  append_json_string(out, text);
}

void number_field(std::string& out, std::string_view quoted_name, std::uint64_t number) {
  out += quoted_name;
  append_number(out, number);
}

// Microseconds as milliseconds with three places.
void time_field(std::string& out, std::string_view quoted_name, std::uint32_t us) {
  out += quoted_name;
  append_number(out, us / 1000);
  const std::uint32_t rest = us % 1000;
  out += '.';
  out += static_cast<char>('0' + rest / 100);
  out += static_cast<char>('0' + rest / 10 % 10);
  out += static_cast<char>('0' + rest % 10);
}

}  // namespace

void append_access_line(std::string& out, const AccessRecord& record,
                        std::string_view edge_region) {
  out += R"({"time":")";
  append_time(out, record.time);
  out += '"';
  text_field(out, R"(,"id":)", record.request_id);
  text_field(out, R"(,"app":)", record.app);
  text_field(out, R"(,"machine":)", record.machine);
  if (edge_region != record.region) text_field(out, R"(,"edge":)", edge_region);
  text_field(out, R"(,"region":)", record.region);
  text_field(out, R"(,"client":)", record.client);
  text_field(out, R"(,"method":)", record.method);
  text_field(out, R"(,"host":)", record.host);
  text_field(out, R"(,"target":)", record.target);
  if (record.target_cut) out += R"(,"target_cut":true)";
  if (record.version != HttpVersion::Http11)
    text_field(out, R"(,"http":)", kVersions[static_cast<std::size_t>(record.version)]);
  text_field(out, R"(,"tls":)", kTlsVersions[static_cast<std::size_t>(record.tls)]);
  number_field(out, R"(,"status":)", record.status);
  if (record.fault != Fault::None) text_field(out, R"(,"fault":)", describe(record.fault).token);
  if (record.bytes_in != 0) number_field(out, R"(,"in":)", record.bytes_in);
  number_field(out, R"(,"out":)", record.bytes_out);
  time_field(out, R"(,"total_ms":)", record.total_us);
  if (record.queue_us != 0) time_field(out, R"(,"queue_ms":)", record.queue_us);
  time_field(out, R"(,"upstream_ms":)", record.upstream_us);
  if (record.attempts != 1) number_field(out, R"(,"attempts":)", record.attempts);
  if (record.waited) {
    time_field(out, R"(,"wake":{"queue_ms":)", record.wake.queue_us);
    time_field(out, R"(,"start_ms":)", record.wake.start_us);
    time_field(out, R"(,"ready_ms":)", record.wake.ready_us);
    time_field(out, R"(,"first_byte_ms":)", record.wake.first_byte_us);
    out += '}';
  }
  text_field(out, R"(,"agent":)", record.user_agent);
  text_field(out, R"(,"referer":)", record.referer);
  out += "}\n";
}

AccessRing::AccessRing(Counter& dropped, std::size_t capacity)
    : capacity_(capacity), bytes_(std::make_unique<std::byte[]>(capacity)), dropped_(dropped) {
  assert(std::has_single_bit(capacity) && capacity >= 4 * limits::kLogRecordBytes);
}

// A log that keeps up needs little of the ring: where the reader has read all, the writer goes back
// to the beginning, which is in its cache, instead of through four megabytes that are not. Asked
// once each 64 KiB.
bool AccessRing::may_start_again(std::size_t head, std::size_t offset) noexcept {
  constexpr std::size_t kHotBytes = 256 * 1024;
  constexpr std::size_t kAskEach = 64 * 1024;
  if (offset < kHotBytes || head < writer_.ask_again_at) return false;
  writer_.ask_again_at = head + kAskEach;
  writer_.tail_seen = reader_.tail.load(std::memory_order_acquire);
  return writer_.tail_seen == head;
}

// `bytes` in one piece at the writer's end, null if they don't fit. A piece that would cross the
// ring's end starts at its beginning, behind a gap.
std::byte* AccessRing::reserve(std::size_t bytes) noexcept {
  const std::size_t head = writer_.head.load(std::memory_order_relaxed);
  const std::size_t offset = head & (capacity_ - 1);
  const bool ends = offset + bytes > capacity_ || may_start_again(head, offset);
  const std::size_t gap = ends ? capacity_ - offset : 0;
  if (head + gap + bytes - writer_.tail_seen > capacity_) {
    writer_.tail_seen = reader_.tail.load(std::memory_order_acquire);
    if (head + gap + bytes - writer_.tail_seen > capacity_) return nullptr;
  }
  if (gap == 0) return bytes_.get() + offset;
  // A gap shorter than a record's fixed part is known by its length alone (see front).
  if (gap >= sizeof(Stored)) {
    Stored marker;
    marker.bytes = static_cast<std::uint32_t>(gap);
    marker.is_gap = true;
    std::memcpy(bytes_.get() + offset, &marker, sizeof marker);
  }
  writer_.head.store(head + gap, std::memory_order_release);
  return bytes_.get();
}

void AccessRing::push(const AccessRecord& record) noexcept {
  Stored stored;
  std::size_t bytes = sizeof(Stored);
  for (std::size_t i = 0; i < kTexts.size(); ++i) {
    const std::size_t most =
        i < kTextBytes.size() ? kTextBytes[i] : limits::kLogRecordBytes - bytes;
    const std::size_t size = std::min((record.*kTexts[i]).size(), most);
    stored.sizes[i] = static_cast<std::uint16_t>(size);
    bytes += size;
  }
  stored.is_target_cut = record.target_cut || stored.sizes.back() < record.target.size();
  bytes = round_up(bytes);
  std::byte* to = reserve(bytes);
  if (to == nullptr) {
    dropped_.add();
    return;
  }
  stored.bytes = static_cast<std::uint32_t>(bytes);
  stored.attempts = record.attempts;
  stored.waited = record.waited;
  stored.status = record.status;
  stored.fault = record.fault;
  stored.tls = record.tls;
  stored.version = record.version;
  stored.time = record.time;
  stored.bytes_in = record.bytes_in;
  stored.bytes_out = record.bytes_out;
  stored.total_us = record.total_us;
  stored.queue_us = record.queue_us;
  stored.upstream_us = record.upstream_us;
  stored.wake = record.wake;
  std::memcpy(to, &stored, sizeof stored);
  to += sizeof stored;
  for (std::size_t i = 0; i < kTexts.size(); ++i) {
    if (stored.sizes[i] != 0) std::memcpy(to, (record.*kTexts[i]).data(), stored.sizes[i]);
    to += stored.sizes[i];
  }
  const std::size_t head = writer_.head.load(std::memory_order_relaxed);
  writer_.head.store(head + bytes, std::memory_order_release);
}

bool AccessRing::front(AccessRecord& record) noexcept {
  Stored stored;
  const std::byte* from = nullptr;
  for (;;) {
    const std::size_t tail = reader_.tail.load(std::memory_order_relaxed);
    if (tail == reader_.head_seen) {
      reader_.head_seen = writer_.head.load(std::memory_order_acquire);
      if (tail == reader_.head_seen) return false;
    }
    const std::size_t offset = tail & (capacity_ - 1);
    const std::size_t left = capacity_ - offset;
    std::size_t gap = left;
    if (left >= sizeof stored) {
      from = bytes_.get() + offset;
      std::memcpy(&stored, from, sizeof stored);
      if (!stored.is_gap) break;
      gap = stored.bytes;
    }
    reader_.tail.store(tail + gap, std::memory_order_release);
  }
  record.attempts = stored.attempts;
  record.waited = stored.waited;
  record.target_cut = stored.is_target_cut;
  record.status = stored.status;
  record.fault = stored.fault;
  record.tls = stored.tls;
  record.version = stored.version;
  record.time = stored.time;
  record.bytes_in = stored.bytes_in;
  record.bytes_out = stored.bytes_out;
  record.total_us = stored.total_us;
  record.queue_us = stored.queue_us;
  record.upstream_us = stored.upstream_us;
  record.wake = stored.wake;
  from += sizeof stored;
  for (std::size_t i = 0; i < kTexts.size(); ++i) {
    record.*kTexts[i] = {reinterpret_cast<const char*>(from), stored.sizes[i]};
    from += stored.sizes[i];
  }
  reader_.front_bytes = stored.bytes;
  return true;
}

void AccessRing::pop() noexcept {
  const std::size_t tail = reader_.tail.load(std::memory_order_relaxed);
  reader_.tail.store(tail + reader_.front_bytes, std::memory_order_release);
}

}  // namespace rooster::proxy
