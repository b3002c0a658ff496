#include "cli/proxy_session.hpp"

#include "net/splice.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace rooster::cli {
namespace {

using namespace std::chrono_literals;

constexpr auto kOpenTime = 10s;  // no way in that time at the start: it is said, and the end
constexpr auto kTick = 1s;
constexpr auto kFarewell = 3s;  // for open connections after the first Ctrl-C
constexpr auto kCrowdPatience = 15s;
constexpr auto kFirstRest = 100ms;
constexpr auto kLongestRest = 800ms;
constexpr std::string_view kCrowded = "peer_limit";
constexpr auto kRest = 100ms;  // after a failed accept
constexpr std::size_t kBufferBytes = 256 * 1024;

bool is_loopback(const std::string& address) {
  const auto parsed = IpAddress::parse(address);
  return !parsed || parsed->is_loopback();
}

}  // namespace

ProxySession::ProxySession(Loop& loop, Way& way, ProxyOptions options, const Console& console)
    : loop_(loop),
      way_(way),
      options_(std::move(options)),
      voice_(console, options_.manner),
      main_group_(loop),
      acceptors_(loop),
      connections_(loop),
      buffer_(std::make_unique<char[]>(kBufferBytes)),
      ticker_(loop, [this] { tick(); }),
      start_watch_(way) {}

ProxySession::~ProxySession() = default;

int ProxySession::run() {
  signals_.emplace(loop_, std::initializer_list<int>{SIGINT, SIGTERM, SIGHUP},
                   [this](int number, bool from_terminal) { take_signal(number, from_terminal); });
  main_group_.spawn(main());
  loop_.run();
  return status_;
}

Task<> ProxySession::main() {
  {
    Waiter waiter(main_group_);
    main_waiter_ = &waiter;
    const auto status = co_await begin_and_wait(waiter);
    waiter.calm();
    co_await end_connections(waiter);
    status_ = child_status_.value_or(*status);
    main_waiter_ = nullptr;
  }
  ticker_.cancel();
  unbind(bound_);
  voice_.end();
  loop_.stop();
  co_return {};
}

Task<int> ProxySession::begin_and_wait(Waiter& waiter) {
  auto bound = bind_mappings(options_.mappings, options_.bind_address);
  if (!bound) {
    voice_.error(bound.error());
    co_return 1;
  }
  bound_ = std::move(*bound);
  if (!options_.bind_address.empty() && !is_loopback(options_.bind_address)) {
    voice_.warning(fmt::format(
        "-b {}: everybody who can reach this address can use the proxy, without a password",
        options_.bind_address));
  }
  tick();
  const auto opened = co_await way_.open(waiter, loop_.now() + kOpenTime);
  if (stops_ > 0) co_return 0;
  if (!opened) {
    voice_.error(opened.error().detail.empty() ? describe(opened.error().fault).hint
                                               : std::string_view(opened.error().detail));
    co_return 1;
  }
  voice_.detail("connected by " + way_.describe());
  connections_.spawn(watch_start());
  const auto found = co_await find_targets(waiter);
  if (stops_ > 0) co_return 0;
  if (!found || !*found) co_return 1;
  for (BoundMapping& one : bound_) {
    voice_.proxying(one.mapping, one.port);
    for (Descriptor& listener : one.listeners) {
      listeners_.push_back(std::make_unique<Pollable>(loop_, std::move(listener), std::uint8_t{0}));
      acceptors_.spawn(accept_loop(one, *listeners_.back()));
    }
  }
  if (options_.watch_input) {
    input_end_ = std::make_unique<InputEnd>(loop_, [this] {
      stops_ += 2;
      notify_main();
    });
  }
  if (!options_.command.empty() && !start_command()) co_return 127;
  while (stops_ == 0 && !child_status_) co_await waiter.wait(kNever);
  co_return 0;
}

// False: one of them can't be, and it was said.
Task<bool> ProxySession::find_targets(Waiter& waiter) {
  std::vector<net::ConnectTarget> targets;
  for (const ProxyMapping& mapping : options_.mappings) {
    if (std::ranges::find(targets, mapping.remote) == targets.end()) {
      targets.push_back(mapping.remote);
    }
  }
  for (const net::ConnectTarget& target : targets) {
    answers_.push_back(std::make_unique<FirstAnswer>());
    connections_.spawn(find_target(target, *answers_.back()));
  }
  const auto is_known = [](const auto& answer) { return answer->is_known; };
  while (stops_ == 0 && !std::ranges::all_of(answers_, is_known)) co_await waiter.wait(kNever);
  bool all_exist = true;
  for (const auto& answer : answers_) {
    if (answer->refusal.empty()) continue;
    voice_.error(answer->refusal);
    all_exist = false;
  }
  co_return all_exist;
}

// Wakes the target without holding it awake. Its first words tell whether there is one at all.
Task<> ProxySession::find_target(net::ConnectTarget target, FirstAnswer& given) {
  Waiter waiter(connections_);
  FirstAnswer* answer = &given;  // gone once it is known
  const auto know = [this, &answer](std::string refusal) {
    if (answer == nullptr) return;
    *answer = {.is_known = true, .refusal = std::move(refusal)};
    answer = nullptr;
    notify_main();
  };
  const auto outcome =
      co_await connect_through(way_, {.target = target, .only_wake = true, .token = {}}, nullptr,
                               waiter, [this, &know, &target](std::string_view line) {
                                 voice_.progress(target, line, loop_.now());
                                 know("");
                               });
  const auto* refusal = outcome ? std::get_if<net::ConnectRefusal>(&*outcome) : nullptr;
  if (refusal != nullptr && is_for_good(*refusal) && answer != nullptr) {
    know(failed_line(target, *refusal));
  } else if (refusal != nullptr) {
    voice_.failure(target, failed_line(target, *refusal), loop_.now());
  } else if (!outcome && outcome.error().fault != Fault::Interrupted) {
    voice_.failure(target, failed_line(target, outcome.error()), loop_.now());
  }
  know("");
  co_return {};
}

Task<> ProxySession::watch_start() {
  Waiter waiter(connections_);
  co_return co_await start_watch_.begin(waiter);
}

Task<> ProxySession::accept_loop(const BoundMapping& bound, Pollable& listener) {
  Waiter waiter(acceptors_);
  TimePoint again = kNever;
  for (;;) {
    const bool is_full = open_ >= kMostConnections;
    const Interest interest =
        is_full || again != kNever ? Interest{} : Interest{&listener, Pollable::kReadable};
    const TimePoint deadline = is_full ? loop_.now() + kRest : again;
    if (co_await waiter.wait(deadline, interest) == Woke::Interrupted) co_return {};
    again = kNever;
    while (open_ < kMostConnections) {
      Descriptor accepted(::accept4(listener.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (accepted) {
        ++open_;
        connections_.spawn(serve(std::move(accepted), bound.mapping.remote));
        continue;
      }
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) {
        listener.clear(Pollable::kReadable);
      } else {
        again = loop_.now() + kRest;
      }
      break;
    }
  }
}

Task<> ProxySession::serve(Descriptor descriptor, net::ConnectTarget remote) {
  {
    const int on = 1;
    ::setsockopt(descriptor.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    Waiter waiter(connections_);
    Stream local(loop_, std::move(descriptor));
    co_await carry(local, remote, waiter);
  }
  --open_;
  if (stops_ > 0) notify_main();
  co_return {};
}

Task<bool> ProxySession::take_turn(Waiter& waiter) {
  if (opening_ < kMostOpening && queue_.empty()) {
    ++opening_;
    co_return true;
  }
  queue_.push_back(&waiter);
  // Whoever gives its turn up takes the first out of the queue, and counts for it.
  const auto is_queued = [this, &waiter] {
    return std::ranges::find(queue_, &waiter) != queue_.end();
  };
  while (is_queued()) {
    if (co_await waiter.wait(kNever) != Woke::Interrupted) continue;
    if (is_queued()) {
      std::erase(queue_, &waiter);
    } else {
      give_turn();
    }
    co_return false;
  }
  co_return true;
}

void ProxySession::give_turn() {
  --opening_;
  if (queue_.empty()) return;
  ++opening_;
  Waiter* const next = queue_.front();
  queue_.pop_front();
  next->notify();
}

// What the node turns away because too many came at once is tried again: nothing was sent.
Task<ConnectOutcome> ProxySession::open_remote(Stream& local, const net::ConnectTarget& remote,
                                               Waiter& waiter) {
  const auto progress = [this, &remote](std::string_view line) {
    voice_.progress(remote, line, loop_.now());
  };
  const TimePoint give_up = Clock::now() + kCrowdPatience;
  for (auto rest = kFirstRest;; rest = std::min(2 * rest, kLongestRest)) {
    auto outcome = co_await connect_through(
        way_, {.target = remote, .only_wake = false, .token = {}}, &local, waiter, progress);
    const auto* refusal = outcome ? std::get_if<net::ConnectRefusal>(&*outcome) : nullptr;
    const bool is_crowded = refusal != nullptr && refusal->fault == kCrowded;
    const bool was_reset = !outcome && outcome.error().fault == Fault::UpstreamReset;
    if ((!is_crowded && !was_reset) || Clock::now() >= give_up || stops_ > 0) co_return outcome;
    if (co_await waiter.wait(Clock::now() + rest) == Woke::Interrupted) co_return outcome;
  }
}

Task<> ProxySession::carry(Stream& local, const net::ConnectTarget& remote, Waiter& waiter) {
  const auto has_turn = co_await take_turn(waiter);
  if (!has_turn || !*has_turn) {
    net::reset_at_close(local);
    co_return {};
  }
  auto outcome = co_await open_remote(local, remote, waiter);
  give_turn();
  if (!outcome || std::holds_alternative<net::ConnectRefusal>(*outcome)) {
    net::reset_at_close(local);
    if (outcome) {
      voice_.failure(remote, failed_line(remote, std::get<net::ConnectRefusal>(*outcome)),
                     loop_.now());
    } else if (outcome.error().fault != Fault::ClientLeft &&
               outcome.error().fault != Fault::Interrupted) {
      voice_.failure(remote, failed_line(remote, outcome.error()), loop_.now());
    }
    co_return {};
  }
  auto& connected = std::get<Connected>(*outcome);
  if (!connected.first_bytes.empty()) local.write(connected.first_bytes);
  Carried carried{.waiter = waiter, .since = std::chrono::system_clock::now()};
  carried_.insert(&carried);
  const auto end = co_await net::splice(local, *connected.stream, waiter,
                                        std::span(buffer_.get(), kBufferBytes));
  carried_.erase(&carried);
  if (!end) co_return end.error();
  const bool is_cut = end->b_broke || end->interrupted != Fault::None;
  if (is_cut) net::reset_at_close(local);
  if (end->a_broke || is_cut) net::reset_at_close(*connected.stream);
  local.close();  // at once: what is said of it may take a while to learn
  connected.stream->close();
  co_return co_await tell_end(remote, *end, carried.since, waiter);
}

Task<> ProxySession::tell_end(const net::ConnectTarget& remote, const net::Spliced& end,
                              WallTime since, Waiter& waiter) {
  if (end.interrupted == Fault::UpstreamReset) {
    voice_.failure(remote, lost_line(remote, StartWatch::kRestarted), loop_.now());
    co_return {};
  }
  // A gateway that was killed ends its connections in an orderly way, as its kernel does it.
  const auto renewed = way_.renewed_at();
  const bool may_be_restart = !end.a_ended_first && renewed && *renewed > since;
  if (end.b_broke || may_be_restart) {
    const auto why = co_await start_watch_.why_lost(waiter);
    if (!why) co_return why.error();
    if (end.b_broke || *why == StartWatch::kRestarted) {
      voice_.failure(remote, lost_line(remote, *why), loop_.now());
      co_return {};
    }
  }
  voice_.detail(fmt::format("connection to {} ended: {} bytes out, {} in", remote.to_string(),
                            end.forth, end.back));
  co_return {};
}

// The tunnel was made anew. If that is because the gateway restarted, older connections are dead,
// and would say so only when they send.
Task<> ProxySession::look_for_restart() {
  Waiter waiter(connections_);
  const auto renewed = way_.renewed_at();
  const auto restarted = co_await start_watch_.has_restarted(waiter);
  if (!restarted || !*restarted || !renewed) co_return {};
  for (Carried* carried : carried_) {
    if (carried->since < *renewed) carried->waiter.interrupt(Fault::UpstreamReset);
  }
  co_return {};
}

// No new ones; the open ones have a moment to end, unless it is to be at once.
Task<> ProxySession::end_connections(Waiter& waiter) {
  input_end_.reset();
  acceptors_.interrupt_all(Fault::Interrupted);
  acceptors_.when_empty([this] { notify_main(); });
  while (acceptors_.size() > 0) co_await waiter.wait(kNever);
  listeners_.clear();
  if (open_ > 0 && stops_ == 1 && !child_status_) {
    voice_.state(fmt::format("Waiting for {} open {} to end; Ctrl-C again ends {} at once", open_,
                             open_ == 1 ? "connection" : "connections",
                             open_ == 1 ? "it" : "them"));
    const TimePoint until = loop_.now() + kFarewell;
    while (open_ > 0 && stops_ == 1 && Clock::now() < until) co_await waiter.wait(until);
  }
  connections_.interrupt_all(Fault::Interrupted);
  connections_.when_empty([this] { notify_main(); });
  while (connections_.size() > 0) co_await waiter.wait(kNever);
  child_.reset();
  co_return {};
}

bool ProxySession::start_command() {
  std::vector<std::string> env;
  for (std::size_t i = 0; i < bound_.size(); ++i) {
    env.push_back(
        fmt::format("ROOSTER_PROXY_{}={}", i + 1, local_place(bound_[i].mapping, bound_[i].port)));
    if (bound_[i].port != 0) {
      env.push_back(fmt::format("ROOSTER_PROXY_{}_PORT={}", i + 1, bound_[i].port));
    }
  }
  auto child = ChildProgram::start(loop_, options_.command, env, signals_->mask_before(),
                                   [this](int status) {
                                     child_status_ = status;
                                     notify_main();
                                   });
  if (!child) {
    voice_.error(child.error());
    return false;
  }
  child_ = std::move(*child);
  return true;
}

void ProxySession::take_signal(int number, bool from_terminal) {
  // A program that runs beside us decides by itself what a first Ctrl-C means.
  if (child_ && !from_terminal) child_->signal(number);
  if (child_ && number == SIGINT && !child_was_asked_) {
    child_was_asked_ = true;
    return;
  }
  stop();
}

void ProxySession::stop() {
  ++stops_;
  if (main_waiter_ == nullptr) return;
  // Before the mappings are there, the main flow waits inside others' calls, which end only so.
  if (stops_ == 1 && listeners_.empty()) {
    main_waiter_->interrupt(Fault::Interrupted);
  } else {
    main_waiter_->notify();
  }
}

void ProxySession::notify_main() {
  if (main_waiter_ != nullptr) main_waiter_->notify();
}

void ProxySession::tick() {
  voice_.tick(loop_.now());
  if (const auto slept = sleep_watch_.look(std::chrono::milliseconds(boot_milliseconds()))) {
    voice_.state(fmt::format("was asleep for {}; reconnecting", duration_text(*slept)));
    way_.slept();
  }
  const auto renewed = way_.renewed_at();
  if (renewed != renewed_at_ && renewed_at_ && stops_ == 0) connections_.spawn(look_for_restart());
  renewed_at_ = renewed;
  ticker_.set(Clock::now() + kTick);
}

}  // namespace rooster::cli
