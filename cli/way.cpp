#include "cli/way.hpp"

#include "cli/api_call.hpp"
#include "net/dial.hpp"

namespace rooster::cli {
namespace {

constexpr std::uint16_t kDnsPort = 53;

}  // namespace

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

Task<std::unique_ptr<Stream>> AdminWay::dial_dns(Waiter& waiter, TimePoint deadline) {
  const DeadlineScope scope(waiter, deadline);
  auto outcome = co_await connect_through(
      *this, {.target = {"_api.internal", kDnsPort}, .only_wake = false, .token = {}}, nullptr,
      waiter, [](std::string_view) {});
  if (!outcome) co_return outcome.error();
  if (const auto* refusal = std::get_if<net::ConnectRefusal>(&*outcome)) {
    co_return Error(Fault::UpstreamRefused, "the node's DNS: " + refusal->detail);
  }
  co_return std::move(std::get<Connected>(*outcome).stream);
}

}  // namespace rooster::cli
