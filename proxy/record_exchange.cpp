#include "proxy/record_exchange.hpp"

#include "proxy/error_response.hpp"
#include "proxy/worker_context.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>

namespace rooster::proxy {

namespace {

std::uint32_t microseconds(Duration duration) {
  return static_cast<std::uint32_t>(std::max(duration, Duration::zero()) /
                                    std::chrono::microseconds(1));
}

double milliseconds(Duration duration) {
  return std::chrono::duration<double, std::milli>(std::max(duration, Duration::zero())).count();
}

std::string_view value_of(const Field* field) {
  return field != nullptr ? field->value : std::string_view();
}

}  // namespace

void record_exchange(WorkerContext& context, const ExchangeStory& story) {
  const RelayFacts& relay = story.relay;
  const Duration took = context.loop.now() - story.started;
  context.metrics.count_exchange(story.counters, relay.status, story.fault,
                                 std::chrono::duration_cast<std::chrono::microseconds>(took),
                                 relay.bytes_in, relay.bytes_out);
  AccessRecord line{.time = story.wall,
                    .request_id = story.request_id,
                    .client = story.client_address,
                    .method = story.head.method_text,
                    .host = story.head.host,
                    .target = story.head.target,
                    .user_agent = value_of(story.head.find(FieldKind::UserAgent)),
                    .referer = value_of(story.head.find(FieldKind::Referer)),
                    .bytes_in = relay.bytes_in,
                    .bytes_out = relay.bytes_out,
                    .total_us = microseconds(took),
                    .queue_us = microseconds(story.waited),
                    .upstream_us = microseconds(relay.head_at - relay.sent_at),
                    .status = relay.status,
                    .fault = story.fault,
                    .tls = story.client.tls_version,
                    .version = story.client.version,
                    .attempts = static_cast<std::uint8_t>(std::min(story.attempts, 255)),
                    .waited = story.did_wait};
  if (story.view != nullptr) line.app = story.view->config->name;
  if (story.machine != nullptr) {
    line.machine = story.machine->id.value;
    line.region = story.machine->region;
    if (story.did_wait && story.machine->timeline) {
      const machines::WakeTimeline& wake = *story.machine->timeline;
      line.wake = {.queue_us = microseconds(wake.queued - story.started),
                   .start_us = microseconds(wake.started - story.started),
                   .ready_us = microseconds(wake.ready - story.started),
                   .first_byte_us = microseconds(relay.sent_at - story.started)};
    }
  }
  context.access_log.push(line);
}

std::string refuse_head(WorkerContext& context, const ClientFacts& client, Fault fault) {
  const std::uint16_t status = describe(fault).status;
  if (fault == Fault::ClientLeft || status == 0) return {};
  const WallTime now = context.wall_now();
  const RequestId id = context.request_ids.next(now);
  std::string page = write_refusal({.fault = fault, .request_id = id.view(), .close = true});
  std::array<char, 46> address;
  context.metrics.faults[static_cast<std::size_t>(fault)].add();
  context.metrics.responses[static_cast<std::size_t>(status - 100)].add();
  context.access_log.push({.time = now,
                           .request_id = id.view(),
                           .client = {address.data(), client.peer_address.write(address.data())},
                           .bytes_out = page.size(),
                           .status = status,
                           .fault = fault,
                           .tls = client.tls_version,
                           .version = client.version});
  return page;
}

std::string wake_timing(const machines::MachineView& machine, TimePoint started, Duration waited) {
  std::string text = fmt::format("wake;dur={:.1f}", milliseconds(waited));
  if (machine.timeline && machine.timeline->ready != TimePoint{}) {
    const machines::WakeTimeline& wake = *machine.timeline;
    text +=
        fmt::format(", queue;dur={:.1f}, start;dur={:.1f}, ready;dur={:.1f}",
                    milliseconds(wake.queued - started), milliseconds(wake.started - wake.queued),
                    milliseconds(wake.ready - wake.started));
  }
  return text;
}

}  // namespace rooster::proxy
