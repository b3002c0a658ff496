#include "cli/way.hpp"

#include "net/dial.hpp"

namespace rooster::cli {

Task<> AdminWay::open(Waiter& waiter, TimePoint deadline) {
  const auto stream = co_await dial_api(waiter, deadline);
  if (!stream) co_return stream.error();
  co_return {};
}

Task<std::unique_ptr<Stream>> AdminWay::dial_api(Waiter& waiter, TimePoint) {
  auto stream = co_await net::dial_unix(path_, waiter);
  if (!stream) {
    co_return Error(stream.error().fault, Reached::No,
                    "cannot reach the node (" + stream.error().detail +
                        "); is `rooster serve` running, and may you open its socket?");
  }
  co_return stream;
}

}  // namespace rooster::cli
