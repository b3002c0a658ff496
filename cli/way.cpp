#include "cli/way.hpp"

#include "cli/run_task.hpp"
#include "net/dial.hpp"

#include <cerrno>
#include <chrono>

namespace rooster::cli {
namespace {

constexpr auto kRest = std::chrono::milliseconds(100);

}  // namespace

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
  for (;;) {
    auto socket = net::start_connect_unix(path_);
    if (socket) co_return std::make_unique<Stream>(waiter.loop(), std::move(*socket));
    const bool is_full = errno == EAGAIN;  // its backlog: no answer yet
    Error error(socket.error().fault, Reached::No,
                "cannot reach the node (" + socket.error().detail +
                    "); is `rooster serve` running, and may you open its socket?");
    if (!is_full || Clock::now() >= deadline) co_return error;
    if (co_await waiter.wait(Clock::now() + kRest) == Woke::Interrupted) co_return error;
  }
}

Task<std::unique_ptr<Stream>> AdminWay::dial_dns(Waiter&, TimePoint) {
  co_return Error(Fault::UpstreamRefused, Reached::No,
                  "names are asked through a tunnel: use a login (rooster login), or a peer's file "
                  "with --peer");
}

}  // namespace rooster::cli
