#include "app/exec_host.hpp"

#include "machines/start_spec.hpp"

#include <algorithm>
#include <csignal>
#include <utility>

namespace rooster::app {
namespace {

using namespace std::chrono_literals;

constexpr auto kPatience = 10s;  // of one question to control and the keeper
constexpr auto kLookEach = 50ms;
constexpr auto kLeaseEach = 1s;
constexpr auto kLongestWait = 10min;  // whatever wake_timeout says

Error with_detail(Fault fault, std::string detail) {
  return {fault, Reached::No, std::move(detail)};
}

}  // namespace

// ---- the command, on the background thread. An answer that came too late goes with its loop,
// maybe after the host.

class ExecHost::Process final : public admin::ExecProcess {
 public:
  Process(ExecHost& host, keeper::Executed executed, std::shared_ptr<Ended> ended)
      : host_(host),
        control_loop_(host.parts_.control_loop),
        executed_(std::move(executed)),
        ended_(std::move(ended)) {}
  ~Process() override {
    ended_->tell = nullptr;
    control_loop_.post([&host = host_, exec = executed_.exec] { host.abandon(exec); });
  }

  Ends take_ends() override {
    if (executed_.terminal)
      return {.input = std::move(executed_.terminal), .output = {}, .errors = {}};
    return {.input = std::move(executed_.input),
            .output = std::move(executed_.output),
            .errors = std::move(executed_.errors)};
  }
  void signal(int number) override {
    control_loop_.post(
        [&host = host_, exec = executed_.exec, number] { host.signal(exec, number); });
  }
  std::optional<std::uint32_t> status() const override { return ended_->status; }
  void on_end(std::move_only_function<void()> ended) override {
    if (ended_->status) {
      ended();
    } else {
      ended_->tell = std::move(ended);
    }
  }

 private:
  ExecHost& host_;
  Loop& control_loop_;
  keeper::Executed executed_;
  std::shared_ptr<Ended> ended_;
};

ExecHost::ExecHost(Parts parts) : parts_(std::move(parts)) {
  parts_.control_loop.post([this] {
    second_ = std::make_unique<Timer>(parts_.control_loop, [this] { each_second(); });
    second_->set(Clock::now() + kLeaseEach);
  });
}

ExecHost::~ExecHost() = default;

Task<std::unique_ptr<admin::ExecProcess>> ExecHost::start(admin::ExecSpec spec, Notice notice,
                                                          Waiter& waiter) {
  const TimePoint give_up = waiter.loop().now() + kLongestWait;
  std::string told;
  while (waiter.loop().now() < give_up) {
    Result<Attempt> attempt = co_await ask<Attempt>(
        waiter, parts_.control_loop, waiter.loop().now() + kPatience,
        [this, spec](Answer<Attempt> answer) { this->attempt(spec, std::move(answer)); });
    if (!attempt) co_return attempt.error();
    if (attempt->process) co_return std::move(attempt->process);
    const bool is_news = std::exchange(told, attempt->notice) != attempt->notice;
    if (!notice(is_news ? attempt->notice : "")) co_return Error(Fault::ClientLeft);
    const Woke woke = co_await waiter.wait(waiter.loop().now() + kLookEach);
    if (woke == Woke::Interrupted) co_return Error(waiter.interrupted_by());
  }
  co_return with_detail(Fault::WakeTimeout, "the machine does not run");
}

// ---- control's thread

void ExecHost::attempt(const admin::ExecSpec& spec, Answer<Attempt> answer) {
  const Result<admin::AppFacts> facts = parts_.control.facts_of(spec.app);
  if (!facts) return answer(fail(facts.error()));
  const machines::AppViewPtr& view = facts->view;
  const auto machine = std::ranges::find_if(
      view->machines, [&](const auto& one) { return one.id.value == spec.machine; });
  if (machine == view->machines.end()) {
    return answer(
        fail(with_detail(Fault::NoRoute, "app " + spec.app + " has no machine " + spec.machine)));
  }
  if (const auto may = may_run(spec, *view->config); !may) return answer(fail(may.error()));
  const auto known = facts->machines.find(spec.machine);
  const bool runs = machine->awake && known != facts->machines.end() && known->second.pid != 0;
  if (runs) return execute(spec, view, *machine, std::move(answer));
  auto woken = wake(spec, *view, *machine);
  if (!woken) return answer(fail(woken.error()));
  answer(Attempt{.process = nullptr, .notice = std::move(*woken)});
}

Result<> ExecHost::may_run(const admin::ExecSpec& spec, const config::AppConfig& config) const {
  if (config.driver() != config::DriverKind::Process) {
    return fail(with_detail(Fault::ExecFailed, "app " + spec.app +
                                                   " has no machines that this node runs: there is "
                                                   "nothing to run a command in"));
  }
  const std::string& user = spec.user.empty() ? config.rooster.user : spec.user;
  const bool is_root = parts_.is_root && (user == "root" || user == "0");
  if (is_root && !parts_.may_be_root()) {
    return fail(with_detail(Fault::NotAllowed,
                            "commands run as root only where the node's [rooster] exec_as_root = "
                            "true says so"));
  }
  return {};
}

// Returns what to tell who waits.
Result<std::string> ExecHost::wake(const admin::ExecSpec& spec, const machines::AppView& view,
                                   const machines::MachineView& machine) {
  const auto wake = std::ranges::find(view.wakes, machine.group, &machines::WakeState::group);
  if (wake == view.wakes.end()) {
    return fail(with_detail(Fault::NoRoute, "its process group is not configured any more"));
  }
  if (!wake->autostart && !spec.starts_always) {
    return fail(
        with_detail(Fault::AutostartOff,
                    "app " + spec.app + " is started by operators only; --start starts it"));
  }
  if (wake->phase == machines::WakePhase::Failed && wake->retry_at > Clock::now()) {
    return fail(with_detail(wake->fault, wake->detail));
  }
  const std::string what = "machine " + spec.machine + " of app " + spec.app;
  if (machine.awake) return what + " starts";
  if (spec.starts_always && !wake->autostart) {
    const auto started = parts_.control.order({.machine = spec.machine,
                                               .order = admin::MachineOrder::Start,
                                               .signal = {},
                                               .timeout = {}});
    if (!started) return fail(started.error());
    return "starting " + what;
  }
  parts_.control.wake({.app = view.id,
                       .group = machine.group,
                       .generation = wake->generation,
                       .asked_at = Clock::now(),
                       .source = "ssh console",
                       .reason = "exec",
                       .machine = spec.machine});
  return "waking " + what;
}

void ExecHost::execute(const admin::ExecSpec& spec, machines::AppViewPtr view,
                       const machines::MachineView& machine, Answer<Attempt> answer) {
  machines::StartSpec start = machines::make_start_spec(
      *view->config,
      {.id = machine.id,
       .region = machine.region,
       .group = machine.group,
       .private_address = machine.netns ? machine.private_address : IpAddress()},
      machine.ports);
  if (spec.has_terminal && !spec.term.empty()) start.env.push_back("TERM=" + spec.term);
  auto running = std::make_shared<Running>();
  running->view = std::move(view);
  running->machine = spec.machine;
  running->ended = std::make_shared<Ended>();
  hold(*running);  // before the command runs: the machine must not stop in between
  parts_.keeper.request(
      keeper::Exec{.machine = spec.machine,
                   .argv = spec.argv,
                   .env = std::move(start.env),
                   .cwd = std::move(start.directory),
                   .user = spec.user,
                   .wants_pty = spec.has_terminal,
                   .rows = spec.rows,
                   .columns = spec.columns},
      [this, running,
       answer = std::make_shared<Answer<Attempt>>(std::move(answer))](keeper::Reply reply) {
        if (auto* executed = std::get_if<keeper::Executed>(&reply)) {
          const std::shared_ptr<Ended> ended = running->ended;
          running_[executed->exec] = std::move(*running);
          (*answer)(
              Attempt{.process = std::make_unique<Process>(*this, std::move(*executed), ended),
                      .notice = {}});
        } else if (const auto* failed = std::get_if<keeper::SpawnFailed>(&reply)) {
          (*answer)(fail(with_detail(Fault::ExecFailed, failed->text)));
        } else if (const auto* other = std::get_if<keeper::Failed>(&reply)) {
          (*answer)(fail(with_detail(Fault::ExecFailed, other->text)));
        }
      });
}

// A machine that runs without being ready has nothing to lease yet; it is not stopped as idle
// either.
void ExecHost::hold(Running& running) {
  if (running.lease) return;
  const auto facts = parts_.control.facts_of(running.view->config->name);
  if (!facts) return;
  for (const machines::MachineView& machine : facts->view->machines) {
    if (machine.id.value != running.machine) continue;
    running.lease =
        machines::Lease::try_take_awake(*machine.load, machine.load_generation, nullptr);
    running.view = facts->view;
  }
}

void ExecHost::each_second() {
  for (auto& [exec, running] : running_) hold(running);
  second_->set(Clock::now() + kLeaseEach);
}

void ExecHost::signal(std::uint64_t exec, int number) {
  parts_.keeper.request(
      keeper::ExecSignal{.exec = exec, .signal = static_cast<std::uint8_t>(number)},
      [](const keeper::Reply&) {});
}

// One that still runs was started for somebody who had left, or outlived the patience with it.
void ExecHost::abandon(std::uint64_t exec) {
  if (running_.erase(exec) > 0) signal(exec, SIGKILL);
}

void ExecHost::on_exited(const keeper::ExecExited& exited) {
  const auto found = running_.find(exited.exec);
  if (found == running_.end()) return;
  const auto status =
      static_cast<std::uint32_t>(exited.signal != 0 ? 128 + exited.signal : exited.code);
  parts_.background.post([ended = found->second.ended, status] {
    ended->status = status;
    if (ended->tell) std::exchange(ended->tell, nullptr)();
  });
  running_.erase(found);
}

void ExecHost::stop() {
  second_.reset();
  running_.clear();
}

}  // namespace rooster::app
