#include "proxy/linger.hpp"

#include "core/limits.hpp"
#include "proxy/worker_context.hpp"

namespace rooster::proxy {

Task<> linger(WorkerContext& context, Stream& stream, Waiter& waiter) {
  const TimePoint deadline = context.loop.now() + limits::kLingerTime;
  std::size_t discarded = 0;
  while (discarded < limits::kDiscardBytes && (!stream.has_pending() || stream.flush())) {
    if (stream.may_read()) {
      const ReadResult got = stream.read(context.scratch.in_span());
      discarded += got.bytes;
      if (got.status == ReadResult::Status::Some) continue;
      if (got.status != ReadResult::Status::Later) co_return {};
    }
    Interest interest = stream.readable();
    if (stream.has_pending()) interest.bits |= Pollable::kWritable;
    const Woke woke = co_await waiter.wait(deadline, interest);
    if (woke == Woke::Deadline || woke == Woke::Interrupted) co_return {};
  }
  co_return {};
}

}  // namespace rooster::proxy
