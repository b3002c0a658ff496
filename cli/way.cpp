#include "cli/way.hpp"

#include "cli/run_task.hpp"
#include "net/dial.hpp"

namespace rooster::cli {
Result<> Way::open_now(Loop& loop, Duration patience) {
  return run_task<void>(
      loop, [this, patience](Waiter& waiter) { return open(waiter, Clock::now() + patience); });
}

Task<> AdminWay::open(Waiter& waiter, TimePoint deadline) {
  const auto stream = co_await dial_api(waiter, deadline);
  if (!stream) co_return stream.error();
  co_return {};
}

Task<std::unique_ptr<Stream>> AdminWay::dial_api(Waiter& waiter, TimePoint deadline) {
  auto stream = co_await net::dial_unix(path_, waiter, deadline);
  if (stream) co_return std::move(*stream);
  co_return Error(stream.error().fault, Reached::No,
                  "cannot reach the node (" + stream.error().detail +
                      "); is `rooster serve` running, and may you open its socket?");
}

Task<std::unique_ptr<Stream>> AdminWay::dial_dns(Waiter&, TimePoint) {
  co_return Error(Fault::UpstreamRefused, Reached::No,
                  "names are asked through a tunnel: use a login (rooster login), or a peer's file "
                  "with --peer");
}

}  // namespace rooster::cli
