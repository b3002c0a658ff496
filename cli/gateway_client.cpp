#include "cli/gateway_client.hpp"

#include "cli/node_client.hpp"
#include "cli/run_task.hpp"
#include "core/log.hpp"
#include "net/dial.hpp"
#include "net/fetch.hpp"

#include <boost/json/parse.hpp>

#include <algorithm>
#include <chrono>

namespace rooster::cli {
namespace {

using namespace std::chrono_literals;

constexpr auto kPatience = 30s;
constexpr auto kEachAddress = 5s;

// A wrong clock is the usual reason for wrong dates.
std::string with_clock(std::string detail) {
  if (detail.find("expired") != std::string::npos ||
      detail.find("not yet valid") != std::string::npos) {
    detail += "; this machine's clock says " + format_time(std::chrono::system_clock::now());
  }
  return detail;
}

Error no_answer(const Login& login, const Error& why) {
  return {why.fault, why.reached,
          "no answer from " + login.url() + " (" +
              with_clock(why.detail.empty() ? std::string(describe(why.fault).hint) : why.detail) +
              ")"};
}

Result<boost::json::value> to_json(const net::HttpResponse& response, const Login& login) {
  boost::system::error_code error;
  boost::json::value value = boost::json::parse(response.body, error);
  if (error || !value.is_object()) {
    return fail(Fault::UpstreamBadResponse,
                login.url() + " answered " + std::to_string(response.status) +
                    " and not as a gateway does: is [wireguard] in the node's rooster.toml?");
  }
  if (response.status < 400) return value;
  const Fault fault = response.status == 401   ? Fault::BadToken
                      : response.status == 403 ? Fault::NotAllowed
                      : response.status == 404 ? Fault::NoSuchPeer
                      : response.status == 409 ? Fault::PeerExists
                      : response.status == 429 ? Fault::TooManyPeers
                                               : Fault::BadRequest;
  return fail(fault, text_at(value, "error"));
}

}  // namespace

GatewayClient::GatewayClient(Loop& loop, Login login, net::ClientTls tls)
    : loop_(&loop), login_(std::move(login)), tls_(std::move(tls)) {}

Result<GatewayClient> GatewayClient::create(Loop& loop, Login login) {
  auto tls = login.tls();
  if (!tls) return fail(tls.error());
  return GatewayClient(loop, std::move(login), std::move(*tls));
}

Task<std::unique_ptr<Stream>> GatewayClient::connect(Waiter& waiter, TimePoint deadline) {
  net::Resolver resolver(*loop_);
  const std::string where = login_.connect_to.empty() ? login_.host : login_.connect_to;
  const auto resolved = co_await resolver.resolve(where, waiter, deadline);
  if (!resolved) co_return resolved.error();
  Error last(Fault::UpstreamUnresolved, Reached::No, where + " has no address");
  for (const IpAddress& address : resolved->addresses) {
    const TimePoint until = std::min(deadline, waiter.loop().now() + kEachAddress);
    auto stream = co_await net::dial({address, login_.port}, waiter, until);
    if (stream) co_return std::move(*stream);
    last = stream.error();
    if (last.detail.empty()) last.detail = std::string(describe(last.fault).token);
    last.detail += " at " + Endpoint{address, login_.port}.to_string();
  }
  co_return last;
}

Task<boost::json::value> GatewayClient::call(std::string method, std::string target,
                                             std::string body, Waiter& waiter, TimePoint deadline) {
  auto stream = co_await connect(waiter, deadline);
  if (!stream) co_return no_answer(login_, stream.error());
  const auto secured = co_await net::secure(**stream, tls_, login_.host, waiter, deadline);
  if (!secured) co_return no_answer(login_, secured.error());
  net::HttpRequest request;
  request.method = std::move(method);
  request.target = std::move(target);
  request.body = std::move(body);
  request.fields.emplace_back("Authorization", "Bearer " + login_.token);
  if (!request.body.empty()) request.fields.emplace_back("Content-Type", "application/json");
  const auto response =
      co_await net::fetch(**stream, std::move(request), login_.host, waiter, deadline);
  if (!response) co_return no_answer(login_, response.error());
  co_return to_json(*response, login_);
}

Result<boost::json::value> GatewayClient::call_now(std::string method, std::string target,
                                                   std::string body) {
  return run_task<boost::json::value>(*loop_, [&](Waiter& waiter) {
    return call(method, target, body, waiter, Clock::now() + kPatience);
  });
}

}  // namespace rooster::cli
