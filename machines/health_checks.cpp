#include "machines/health_checks.hpp"

#include "net/dial.hpp"
#include "net/fetch.hpp"
#include "net/secure.hpp"

#include <algorithm>
#include <utility>

namespace rooster::machines {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMostOutput = 256;

// An https check: verified unless the check says not to.
Task<> secure(Stream& stream, const config::Check& check, const std::string& host, Waiter& waiter,
              TimePoint deadline) {
  auto tls = net::ClientTls::create({}, !check.tls_skip_verify);
  if (!tls) co_return tls.error();
  co_return co_await net::secure(stream, *tls, host, waiter, deadline);
}

net::HttpRequest request_of(const config::Check& check) {
  net::HttpRequest request{.method = check.method, .target = check.path};
  std::ranges::transform(request.method, request.method.begin(), [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  request.fields = check.headers;
  return request;
}

std::string host_of(const config::Check& check, const Endpoint& target) {
  for (const auto& [name, value] : check.headers) {
    if (name.size() == 4 && (name == "Host" || name == "host")) return value;
  }
  return check.tls_server_name.empty() ? target.to_string() : check.tls_server_name;
}

// Success is a connection (tcp), or a 2xx (http): redirects are not followed.
Task<std::string> probe(const config::Check& check, Endpoint target, Waiter& waiter,
                        TimePoint deadline) {
  auto stream = co_await net::dial(target, waiter, deadline);
  if (!stream) co_return stream.error();
  if (check.kind == config::Check::Kind::Tcp) co_return std::string("Success");
  if (check.protocol == "https") {
    auto secured = co_await secure(**stream, check, check.tls_server_name, waiter, deadline);
    if (!secured) co_return secured.error();
  }
  auto response =
      co_await net::fetch(**stream, request_of(check), host_of(check, target), waiter, deadline);
  if (!response) co_return response.error();
  std::string body = response->body.substr(0, kMostOutput);
  if (response->status >= 200 && response->status < 300) co_return body;
  co_return Error(Fault::UpstreamBadResponse,
                  "status " + std::to_string(response->status) + ": " + body);
}

}  // namespace

Duration check_pause(const config::Check& check, bool is_waking, int runs_while_waking) {
  if (!is_waking) return std::clamp<Duration>(check.interval, 1s, 60s);
  return std::min<Duration>(20ms * (1 + runs_while_waking), 250ms);
}

struct HealthChecks::Run {
  Run(TaskGroup& group, MachineId machine_, std::size_t index_)
      : waiter(group), machine(std::move(machine_)), index(index_) {}
  Waiter waiter;
  MachineId machine;
  std::size_t index;
  std::shared_ptr<const config::AppConfig> config;
  const config::Check* check = nullptr;
  Endpoint target;
  std::unique_ptr<Timer> timer;
  int runs = 0;
  bool is_running = false;
  bool is_over = false;
};

HealthChecks::HealthChecks(Loop& loop, Report report, IsWaking is_waking)
    : loop_(loop), group_(loop), report_(std::move(report)), is_waking_(std::move(is_waking)) {}

HealthChecks::~HealthChecks() = default;

void HealthChecks::watch(const MachineId& machine, std::shared_ptr<const config::AppConfig> config,
                         std::vector<const config::Check*> checks, std::vector<Endpoint> targets) {
  forget(machine);
  auto& runs = runs_[machine];
  for (std::size_t i = 0; i < checks.size(); ++i) {
    auto run = std::make_shared<Run>(group_, machine, i);
    run->config = config;
    run->check = checks[i];
    run->target = targets[i];
    run->timer = std::make_unique<Timer>(loop_, [this, weak = std::weak_ptr<Run>(run)] {
      if (auto alive = weak.lock()) start(alive);
    });
    run->timer->set(Clock::now());
    runs.push_back(std::move(run));
  }
}

void HealthChecks::start(const std::shared_ptr<Run>& run) {
  if (run->is_over || run->is_running) return;
  run->is_running = true;
  group_.spawn(run_once(run));
}

Task<> HealthChecks::run_once(std::shared_ptr<Run> run) {
  auto result =
      co_await probe(*run->check, run->target, run->waiter, loop_.now() + run->check->timeout);
  run->is_running = false;
  if (run->is_over) co_return {};
  std::string output = result ? std::move(*result) : std::move(result.error().detail);
  if (output.empty() && !result) output = describe(result.error().fault).hint;
  report_(run->machine, run->index, result.has_value(), std::move(output));
  if (run->is_over) co_return {};
  const bool is_waking = is_waking_(run->machine);
  run->timer->set(Clock::now() + check_pause(*run->check, is_waking, run->runs++));
  co_return {};
}

void HealthChecks::forget(const MachineId& machine) {
  const auto found = runs_.find(machine);
  if (found == runs_.end()) return;
  for (const auto& run : found->second) {
    run->is_over = true;
    run->timer->cancel();
    run->waiter.interrupt(Fault::Interrupted);
  }
  runs_.erase(found);
}

void HealthChecks::stop(std::move_only_function<void()> done) {
  while (!runs_.empty()) forget(MachineId(runs_.begin()->first));
  group_.when_empty(std::move(done));
}

}  // namespace rooster::machines
