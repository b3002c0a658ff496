// ProxySession's connections: accept -> wait for a turn -> the call -> bytes both ways -> what is
// said of its end.
#include "cli/proxy_session.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace rooster::cli {
namespace {

using namespace std::chrono_literals;

constexpr auto kRest = 100ms;  // after a failed accept
// What is turned away for being too much is tried again so long, after rests that grow.
constexpr auto kCrowdPatience = 15s;
constexpr auto kFirstRest = 100ms;
constexpr auto kLongestRest = 800ms;
constexpr std::string_view kCrowded = "peer_limit";

}  // namespace

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

}  // namespace rooster::cli
