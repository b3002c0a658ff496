#include "cli/proxy_session.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>

namespace rooster::cli {
namespace {

using namespace std::chrono_literals;

constexpr auto kOpenTime = 10s;  // no way in that time at the start: it is said, and the end
constexpr auto kTick = 1s;
constexpr auto kFarewell = 3s;  // for open connections after the first Ctrl-C

// Until the group has said so: its word comes at the end of a turn, and must find the waiter.
Task<> until_empty(TaskGroup& group, Waiter& waiter) {
  bool is_empty = false;
  group.when_empty([&is_empty, &waiter] {
    is_empty = true;
    waiter.notify();
  });
  while (!is_empty) co_await waiter.wait(kNever);
  co_return {};
}

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
    // Its word may come when all is over, and the loop still turns for the way's end.
    input_end_ = std::make_unique<InputEnd>(loop_, [this, life = std::weak_ptr(life_)] {
      if (life.expired()) return;
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

// No new ones; the open ones have a moment to end, unless it is to be at once.
Task<> ProxySession::end_connections(Waiter& waiter) {
  input_end_.reset();
  acceptors_.interrupt_all(Fault::Interrupted);
  co_await until_empty(acceptors_, waiter);
  listeners_.clear();
  if (open_ > 0 && stops_ == 1 && !child_status_) {
    voice_.state(fmt::format("Waiting for {} open {} to end; Ctrl-C again ends {} at once", open_,
                             open_ == 1 ? "connection" : "connections",
                             open_ == 1 ? "it" : "them"));
    const TimePoint until = loop_.now() + kFarewell;
    while (open_ > 0 && stops_ == 1 && Clock::now() < until) co_await waiter.wait(until);
  }
  connections_.interrupt_all(Fault::Interrupted);
  co_await until_empty(connections_, waiter);
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
