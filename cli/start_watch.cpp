#include "cli/start_watch.hpp"

#include "cli/api_call.hpp"
#include "cli/node_client.hpp"

#include <boost/json/parse.hpp>

#include <algorithm>
#include <chrono>

namespace rooster::cli {
namespace {

using namespace std::chrono_literals;

constexpr auto kFirst = 10s;
constexpr auto kOneCall = 1s;
constexpr auto kPatience = 8s;  // a restarted gateway serves within two
constexpr auto kAgain = 200ms;
constexpr auto kFresh = 3s;     // an answer counts for all that is lost meanwhile
constexpr auto kRestart = 15s;  // after a restart its old connections end within three

}  // namespace

Task<> StartWatch::begin(Waiter& waiter) {
  if (auto started = co_await ask(waiter, Clock::now() + kFirst); started && started_.empty()) {
    started_ = *started;
  }
  co_return {};
}

Task<std::string> StartWatch::ask(Waiter& waiter, TimePoint deadline) {
  net::HttpRequest request;
  request.target = "/v1/status";
  const auto response = co_await ask_api(way_, std::move(request), waiter, deadline);
  if (!response) co_return response.error();
  boost::system::error_code error;
  const auto status = boost::json::parse(response->body, error);
  if (error || response->status != 200) co_return Error(Fault::UpstreamBadResponse);
  co_return text_at(status, "started");
}

Task<std::string> StartWatch::why_lost(Waiter& waiter) {
  const auto restarted = co_await has_restarted(waiter);
  if (!restarted) co_return restarted.error();
  co_return *restarted ? std::string(kRestarted) : way_.why_lost();
}

Task<bool> StartWatch::has_restarted(Waiter& waiter) {
  const TimePoint deadline = Clock::now() + kPatience;
  while (is_asking_) {
    const Woke woke = co_await waiter.wait(Clock::now() + kAgain);
    if (woke == Woke::Interrupted) co_return Error(waiter.interrupted_by());
  }
  if (Clock::now() - answered_at_ > kFresh && !started_.empty()) {
    is_asking_ = true;
    while (Clock::now() < deadline) {
      // A gateway that goes down may still take the call and never answer it.
      const auto started = co_await ask(waiter, std::min(deadline, Clock::now() + kOneCall));
      if (waiter.is_interrupted()) break;
      if (started) {
        answered_at_ = Clock::now();
        if (!started->empty() && *started != started_) restarted_at_ = answered_at_;
        started_ = *started;
        break;
      }
      co_await waiter.wait(Clock::now() + kAgain);
    }
    is_asking_ = false;
    if (waiter.is_interrupted()) co_return Error(waiter.interrupted_by());
  }
  co_return restarted_at_ != TimePoint{} && Clock::now() - restarted_at_ < kRestart;
}

}  // namespace rooster::cli
