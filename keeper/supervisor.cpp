#include "keeper/supervisor.hpp"

#include "keeper/packet_channel.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <utility>

#include <fcntl.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace rooster::keeper {
namespace {

constexpr std::size_t kMaxStored = 64;
constexpr int kPacketsPerTurn = 64;
constexpr auto kRestartDelay = 200ms;  // only after a failed fork
constexpr auto kHurryTime = 2s;        // what the server has left after the second stop signal
constexpr auto kLeaveTime = 10s;       // beyond the last SIGKILL

template <class... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};

}  // namespace

Supervisor::Supervisor(const KeeperOptions& options, Descriptor signals, StateFile& state,
                       Cgroups& cgroups, rlimit descriptors)
    : options_(options),
      signals_(std::move(signals)),
      descriptors_(descriptors),
      cgroups_(cgroups),
      log_(options.log),
      network_(poller_, outbox_),
      machines_(poller_, outbox_, state, cgroups, network_, descriptors),
      execs_(poller_, outbox_, machines_) {}

int Supervisor::run() {
  if (!poller_.is_usable() || !poller_.watch(signals_.get(), Source::Signals)) return 1;
  start_server(Clock::now());
  for (TimePoint now = Clock::now(); !is_done(now); now = Clock::now()) {
    for (const ReadySource& ready : poller_.wait(next_due(now))) {
      now = Clock::now();
      switch (ready.source) {
        case Source::Signals:
          on_signals(now);
          break;
        case Source::Channel:
          on_channel(now);
          break;
        case Source::Report:
          machines_.on_report(ready.serial);
          break;
        case Source::Output:
          machines_.on_output(ready.serial);
          break;
        case Source::Hub:
          network_.on_readable();
          break;
        case Source::ExecReport:
          execs_.on_report(ready.serial);
          break;
      }
    }
    advance(Clock::now());
    log_.drain();
  }
  return exit_code_;
}

void Supervisor::start_server(TimePoint now) {
  restart_at_ = kNever;
  server_ = keeper::start_server(options_.server_path, options_.server_argv, descriptors_);
  if (!server_.is_running()) {
    log_.error("the server can't be forked; trying again");
    if (orphaned_until_ == kNever) orphaned_until_ = now + options_.orphan_grace;
    restart_at_ = now + kRestartDelay;
    return;
  }
  ++generation_;
  orphaned_until_ = kNever;
  outbox_.connect(server_.channel.get());
  poller_.watch(server_.channel.get(), Source::Channel);
}

void Supervisor::on_signals(TimePoint now) {
  signalfd_siginfo info = {};
  // One at a time: the set is level-triggered.
  if (::read(signals_.get(), &info, sizeof info) != sizeof info) return;
  const int signal = static_cast<int>(info.ssi_signo);
  if (signal == SIGCHLD) return reap(now);
  if (signal == SIGTERM || signal == SIGINT) return on_stop_signal(signal, now);
  if (server_.is_running()) ::kill(server_.pid, signal);
}

void Supervisor::on_stop_signal(int signal, TimePoint now) {
  ++stop_signals_;
  if (!server_.is_running()) {
    finish(0, now);
  } else if (stop_signals_ <= 2) {
    ::kill(server_.pid, signal);
  }
  if (stop_signals_ < 2) return;
  machines_.kill_all();
  if (kill_server_at_ == kNever) kill_server_at_ = now + kHurryTime;
}

void Supervisor::reap(TimePoint now) {
  while (true) {
    siginfo_t exit = {};
    // Looked at first and reaped after: while it is a zombie its number can't mean another process.
    if (::waitid(P_ALL, 0, &exit, WEXITED | WNOHANG | WNOWAIT) != 0 || exit.si_pid == 0) return;
    const bool is_server = exit.si_pid == server_.pid;
    // None of ours: an orphan of a machine that has come to us, its subreaper.
    const bool is_known = is_server || machines_.on_exit(exit, now) || execs_.on_exit(exit);
    siginfo_t reaped = {};
    ::waitid(P_PID, static_cast<id_t>(exit.si_pid), &reaped, WEXITED | WNOHANG);
    if (is_server) on_server_exit(exit, now);
    if (!is_known && network_.on_exit(exit.si_pid, now)) log_.error("the hub process has died");
  }
}

void Supervisor::on_server_exit(const siginfo_t& exit, TimePoint now) {
  on_channel(now);  // what it said last: Ready, KeepMachines
  close_channel(now);
  const ServerProcess last = std::exchange(server_, {});
  kill_server_at_ = kNever;
  was_ever_ready_ = was_ever_ready_ || last.is_ready;
  const bool exited = exit.si_code == CLD_EXITED;
  if (is_finishing_) return;
  if (stop_signals_ > 0) return finish(exited ? exit.si_status : 1, now);
  if (exited && exit.si_status == 0) {
    if (!last.keeps_machines) return finish(0, now);
    log_.info("server ended; its successor takes over", {{"machines", machines_.size()}});
    return start_server(now);
  }
  if (exited && !was_ever_ready_) return finish(exit.si_status, now);
  on_crash((exited ? "exit " : "signal ") + std::to_string(exit.si_status), now);
}

void Supervisor::on_crash(const std::string& how, TimePoint now) {
  crashes_.push_back(now);
  std::erase_if(crashes_, [&](TimePoint at) { return now - at > options_.crash_window; });
  log_.error("server crashed", {{"how", how}, {"machines", machines_.size()}});
  if (std::cmp_greater_equal(crashes_.size(), options_.max_crashes)) {
    log_.error("server crashes again and again: giving up", {{"crashes", crashes_.size()}});
    return finish(1, now);
  }
  if (options_.restarts_server) start_server(now);
}

void Supervisor::on_channel(TimePoint now) {
  for (int i = 0; i < kPacketsPerTurn && server_.channel && !outbox_.is_full(); ++i) {
    Packet packet;
    const Receiving got = receive_packet(server_.channel.get(), packet);
    if (got == Receiving::Nothing) break;
    if (got == Receiving::Gone) return close_channel(now);
    const std::uint64_t id = id_of(packet);
    if (auto message = decode_request(std::move(packet)))
      answer(message->id, std::move(message->request), now);
    else
      outbox_.reply(id, Failed{.error = EPROTO, .text = "request not understood"});
  }
}

void Supervisor::close_channel(TimePoint now) {
  if (!server_.channel) return;
  poller_.forget(server_.channel.get());
  server_.channel.reset();
  outbox_.disconnect();
  network_.on_server_gone();
  machines_.on_server_gone();
  execs_.on_server_gone();
  orphaned_until_ = now + options_.orphan_grace;
}

void Supervisor::answer(std::uint64_t id, Request request, TimePoint now) {
  const auto reply = [&](Reply one) { outbox_.reply(id, std::move(one)); };
  outbox_.release_events();
  std::visit(
      Overloaded{
          [&](Hello& one) {
            reply(Welcome{.generation = generation_,
                          .keeper_pid = ::getpid(),
                          .is_root = ::geteuid() == 0,
                          .can_freeze = cgroups_.is_usable(),
                          .cgroup = cgroups_.base(),
                          .no_private_network = one.asks_namespaces ? network_.obstacle() : ""});
          },
          [&](Ready&) {
            server_.is_ready = true;
            reply(Done{});
          },
          [&](Listen& one) { reply(listeners_.listen(one)); },
          [&](Unlisten& one) { reply(listeners_.unlisten(one)); },
          [&](Spawn& one) {
            if (is_finishing_ || stop_signals_ > 1)
              reply(SpawnFailed{.error = ECANCELED,
                                .step = SpawnStep::Prepare,
                                .text = "prepare: shutting down"});
            else
              machines_.spawn(id, std::move(one), now);
          },
          [&](Signal& one) { reply(machines_.signal(one)); },
          [&](Kill& one) { reply(machines_.kill(one)); },
          [&](Freeze& one) { machines_.freeze(id, one, now); },
          [&](Thaw& one) { reply(machines_.thaw(one)); },
          [&](List& one) { reply(machines_.list(one)); },
          [&](Store& one) { reply(store(std::move(one))); },
          [&](Fetch& one) { reply(fetch(one)); },
          [&](KeepMachines& one) {
            server_.keeps_machines = one.keep;
            reply(Done{});
          },
          [&](Hub& one) { network_.set_up(id, std::move(one)); },
          [&](Catch& one) { network_.forward(id, std::move(one)); },
          [&](Sockets& one) { network_.forward(id, std::move(one)); },
          [&](Exec& one) { execs_.run(id, std::move(one), network_.user_namespace() >= 0, now); },
          [&](ExecSignal& one) { reply(execs_.signal(one)); },
          [&](Attach&) { reply(Failed{.error = EPERM, .text = "the keeper's own"}); },
          [&](Detach&) { reply(Failed{.error = EPERM, .text = "the keeper's own"}); }},
      request);
}

Reply Supervisor::store(Store request) {
  if (!stored_.contains(request.name) && stored_.size() == kMaxStored)
    return Failed{.error = ENOSPC, .text = "too many stored descriptors"};
  stored_[request.name] = std::move(request.descriptor);
  return Done{};
}

Reply Supervisor::fetch(const Fetch& request) const {
  const auto it = stored_.find(request.name);
  if (it == stored_.end())
    return Failed{.error = ENOENT, .text = "nothing stored as " + request.name};
  Descriptor copy(::fcntl(it->second.get(), F_DUPFD_CLOEXEC, 3));
  if (!copy) return Failed{.error = errno, .text = "no descriptor left"};
  return Fetched{.descriptor = std::move(copy)};
}

void Supervisor::finish(int exit_code, TimePoint now) {
  if (is_finishing_) return;
  is_finishing_ = true;
  exit_code_ = exit_code;
  orphaned_until_ = kNever;
  restart_at_ = kNever;
  if (machines_.size() > 0) log_.info("stopping machines", {{"machines", machines_.size()}});
  leave_at_ = machines_.stop_all(now) + kLeaveTime;
}

void Supervisor::advance(TimePoint now) {
  if (now >= restart_at_) start_server(now);
  if (now >= orphaned_until_) {
    log_.error("no server for too long");
    if (server_.is_running()) ::kill(server_.pid, SIGKILL);
    finish(1, now);
  }
  if (now >= kill_server_at_) {
    kill_server_at_ = kNever;
    if (server_.is_running()) ::kill(server_.pid, SIGKILL);
  }
  machines_.advance(now);
  execs_.advance(now);
  network_.advance(now);
  outbox_.flush();
  if (server_.channel)
    poller_.set_wants_io(server_.channel.get(), Source::Channel, !outbox_.is_full(),
                         outbox_.wants_write());
}

TimePoint Supervisor::next_due(TimePoint now) const {
  return std::min({restart_at_, orphaned_until_, kill_server_at_, leave_at_,
                   machines_.next_due(now), execs_.next_due(), network_.next_due()});
}

bool Supervisor::is_done(TimePoint now) const {
  if (!is_finishing_) return false;
  return (machines_.is_empty() && !server_.is_running()) || now >= leave_at_;
}

}  // namespace rooster::keeper
