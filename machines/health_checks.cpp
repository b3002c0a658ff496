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
Task<std::string> probe(const config::Check& check, Stream& stream, Endpoint target, Waiter& waiter,
                        TimePoint deadline) {
  if (check.kind == config::Check::Kind::Tcp) co_return std::string("Success");
  if (check.protocol == "https") {
    auto secured = co_await secure(stream, check, check.tls_server_name, waiter, deadline);
    if (!secured) co_return secured.error();
  }
  auto response =
      co_await net::fetch(stream, request_of(check), host_of(check, target), waiter, deadline);
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
  bool is_inside = false;
  std::unique_ptr<Timer> timer;
  int runs = 0;
  bool is_running = false;
  bool is_over = false;
};

HealthChecks::HealthChecks(Loop& loop, Report report, IsWaking is_waking, OpenInside open_inside)
    : loop_(loop),
      group_(loop),
      report_(std::move(report)),
      is_waking_(std::move(is_waking)),
      open_inside_(std::move(open_inside)) {}

HealthChecks::~HealthChecks() = default;

void HealthChecks::watch(const MachineId& machine, std::shared_ptr<const config::AppConfig> config,
                         std::vector<const config::Check*> checks, std::vector<Endpoint> targets,
                         bool is_inside) {
  forget(machine);
  auto& runs = runs_[machine];
  for (std::size_t i = 0; i < checks.size(); ++i) {
    auto run = std::make_shared<Run>(group_, machine, i);
    run->config = config;
    run->check = checks[i];
    run->target = targets[i];
    run->is_inside = is_inside && open_inside_ != nullptr;
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

// An app may listen at its private address alone, or at loopback alone: one of them answers.
Task<std::unique_ptr<Stream>> HealthChecks::dial(std::shared_ptr<Run> run, TimePoint deadline) {
  if (!run->is_inside) co_return co_await net::dial(run->target, run->waiter, deadline);
  Error last(Fault::UpstreamRefused, Reached::No);
  for (const IpAddress& address :
       {IpAddress::v4(0x7F000001), run->target.address, *IpAddress::parse("::1")}) {
    auto stream = co_await dial_inside(run, {address, run->target.port}, deadline);
    if (stream || stream.error().fault != Fault::UpstreamRefused) co_return stream;
    last = std::move(stream.error());
  }
  co_return last;
}

Task<std::unique_ptr<Stream>> HealthChecks::dial_inside(std::shared_ptr<Run> run, Endpoint to,
                                                        TimePoint deadline) {
  struct Answer {
    bool has_come = false;
    Descriptor socket;
  };
  auto answer = std::make_shared<Answer>();
  open_inside_(run->machine, [answer, weak = std::weak_ptr<Run>(run)](Descriptor socket) {
    answer->socket = std::move(socket);
    answer->has_come = true;
    if (auto alive = weak.lock()) alive->waiter.notify();
  });
  while (!answer->has_come) {
    const Woke woke = co_await run->waiter.wait(deadline);
    if (woke == Woke::Interrupted) co_return Error(run->waiter.interrupted_by(), Reached::No);
    if (woke == Woke::Deadline) co_return Error(Fault::UpstreamConnectTimeout, Reached::No);
  }
  if (!answer->socket) co_return Error(Fault::Internal, Reached::No, "no socket in the machine");
  if (auto begun = net::start_connect(answer->socket.get(), to); !begun) co_return begun.error();
  auto stream = std::make_unique<Stream>(loop_, std::move(answer->socket), std::uint8_t{0});
  auto done = co_await net::connected(*stream, run->waiter, deadline);
  if (!done) co_return done.error();
  co_return stream;
}

Task<> HealthChecks::run_once(std::shared_ptr<Run> run) {
  const TimePoint deadline = loop_.now() + run->check->timeout;
  Result<std::string> result;
  auto stream = co_await dial(run, deadline);
  if (stream) {
    result = co_await probe(*run->check, **stream, run->target, run->waiter, deadline);
  } else {
    result = std::unexpected(std::move(stream.error()));
  }
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
