#include "cli/ping_command.hpp"

#include "cli/dig_command.hpp"
#include "cli/operator_commands.hpp"
#include "cli/run_task.hpp"
#include "cli/signals.hpp"
#include "cli/tunnel_way.hpp"
#include "core/json_text.hpp"

#include <fmt/format.h>

#include <charconv>
#include <ostream>

namespace rooster::cli {
namespace {

using namespace std::chrono_literals;

constexpr int kUsage = 2;
constexpr auto kOpenTime = 10s;
constexpr auto kAnswerTime = 5s;
constexpr auto kLeast = 100ms;
constexpr std::size_t kMostBytes = 1000;

class Pinger {
 public:
  Pinger(Loop& loop, TunnelWay& way, PingTarget target, const PingCommand& command,
         std::chrono::milliseconds interval, bool as_json, const Console& console)
      : loop_(loop),
        way_(way),
        target_(std::move(target)),
        command_(command),
        interval_(interval),
        as_json_(as_json),
        console_(console) {}

  int run() {
    const Signals signals(loop_, {SIGINT, SIGTERM}, [this](int, bool) {
      is_over_ = true;
      if (waiter_ != nullptr) waiter_->interrupt(Fault::Interrupted);
    });
    const auto done = run_task<void>(loop_, [this](Waiter& waiter) { return ping_all(waiter); });
    if (!done && !is_over_) {
      return print_error(console_, done.error().detail.empty()
                                       ? std::string(describe(done.error().fault).hint)
                                       : done.error().detail);
    }
    return answers_ > 0 ? 0 : 1;
  }

 private:
  Task<> ping_all(Waiter& waiter) {
    waiter_ = &waiter;
    auto done = co_await find_and_ping(waiter);
    waiter_ = nullptr;
    co_return done;
  }

  Task<> find_and_ping(Waiter& waiter) {
    const auto address = co_await find(waiter);
    if (!address) co_return address.error();
    for (std::uint64_t sequence = 0; command_.count == 0 || sequence < command_.count; ++sequence) {
      const TimePoint next = Clock::now() + interval_;
      const auto reply = co_await way_.client().ping(*address, command_.payload_bytes, waiter,
                                                     Clock::now() + kAnswerTime);
      if (is_over_) co_return {};
      tell(*address, sequence, reply);
      const bool is_last = command_.count != 0 && sequence + 1 == command_.count;
      while (!is_last && !is_over_ && Clock::now() < next) co_await waiter.wait(next);
      if (is_over_) break;
    }
    co_return {};
  }

  Task<IpAddress> find(Waiter& waiter) {
    if (target_.is_gateway) co_return way_.membership().dns;
    if (target_.address) co_return *target_.address;
    const auto response = co_await look_up(
        way_, {.name = target_.name, .type = dns::type::kAaaa, .recursion_desired = false}, waiter,
        Clock::now() + kOpenTime);
    if (!response) co_return response.error();
    const auto addresses = dns::addresses_in(*response);
    if (!addresses.empty()) co_return addresses.front();
    co_return Error(
        Fault::UpstreamUnresolved,
        fmt::format("{}: {}", target_.name,
                    response->rcode == 0 ? "has no address" : dns::rcode_to_text(response->rcode)));
  }

  void tell(const IpAddress& address, std::uint64_t sequence,
            const Result<tunnel::PingReply>& reply) {
    if (reply) ++answers_;
    const std::string why = reply                                           ? std::string()
                            : reply.error().fault == Fault::UpstreamTimeout ? "no answer in 5s"
                                                                            : "address unreachable";
    if (as_json_) {
      std::string line;
      JsonWriter json(line);
      json.begin_object().field("seq", sequence).field("target", address.to_string());
      if (reply) {
        json.field("bytes", reply->bytes)
            .field("ms", std::chrono::duration<double, std::milli>(reply->took).count());
      } else {
        json.field("error", why);
      }
      json.end_object();
      console_.out << line << '\n' << std::flush;
    } else if (reply) {
      console_.out << ping_line(reply->bytes, reply->from, target_.name, sequence, reply->took)
                   << '\n'
                   << std::flush;
    } else {
      console_.out << fmt::format("{} ({}), seq={} {}\n", address.to_string(), target_.name,
                                  sequence, why)
                   << std::flush;
    }
  }

  Loop& loop_;
  TunnelWay& way_;
  PingTarget target_;
  const PingCommand& command_;
  std::chrono::milliseconds interval_;
  bool as_json_;
  const Console& console_;
  Waiter* waiter_ = nullptr;
  bool is_over_ = false;
  std::uint64_t answers_ = 0;
};

}  // namespace

std::expected<PingTarget, std::string> parse_ping_target(std::string_view text) {
  if (text.empty() || text == "gateway") {
    return PingTarget{.name = "gateway", .address = {}, .is_gateway = true};
  }
  if (const auto address = IpAddress::parse(text);
      address && (text.starts_with("fdaa:") || text.starts_with("[fdaa:"))) {
    return PingTarget{.name = address->to_string(), .address = address, .is_gateway = false};
  }
  std::string_view name = text;
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.ends_with(".internal") || name.ends_with(".flycast")) {
    return PingTarget{.name = std::string(name), .address = {}, .is_gateway = false};
  }
  return std::unexpected("bad target name: Fly.io DNS names end in '.internal'");
}

std::optional<std::chrono::milliseconds> parse_interval(std::string_view text) {
  double number = 0;
  const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  if (wrong != std::errc() || (unit != "s" && unit != "ms" && unit != "m")) return std::nullopt;
  const double milliseconds = number * (unit == "ms" ? 1 : unit == "s" ? 1000 : 60'000);
  if (!(milliseconds >= 100) || milliseconds > 3'600'000) return std::nullopt;
  return std::chrono::milliseconds(static_cast<std::int64_t>(milliseconds));
}

std::string ping_line(std::size_t bytes, const IpAddress& from, std::string_view name,
                      std::uint64_t sequence, std::chrono::nanoseconds took) {
  return fmt::format("{} bytes from {} ({}), seq={} time={:.1f}ms", bytes, from.to_string(), name,
                     sequence, std::chrono::duration<double, std::milli>(took).count());
}

int run_ping(const DeveloperOptions& options, const PingCommand& command, const Console& console) {
  const auto usage = [&console](std::string_view text) {
    print_error(console, text);
    return kUsage;
  };
  auto target = parse_ping_target(command.target);
  if (!target) return usage(target.error());
  const auto interval = parse_interval(command.interval);
  if (!interval) {
    return usage(
        fmt::format("-i {}: a time of at least {}ms, e.g. 1s", command.interval, kLeast.count()));
  }
  if (command.payload_bytes > kMostBytes) {
    return usage(fmt::format("-s: at most {} bytes", kMostBytes));
  }
  Loop loop;
  auto way = choose_way(options, loop, [&console](std::string_view line) {
    console.err << line << '\n' << std::flush;
  });
  if (!way) return print_error(console, way.error().detail);
  auto* const tunnel = dynamic_cast<TunnelWay*>(way->get());
  if (tunnel == nullptr) {
    return print_error(console,
                       "ping goes through a tunnel: use a login (rooster login), or a peer's file "
                       "with --peer");
  }
  if (const auto opened = tunnel->open_now(loop, kOpenTime); !opened) {
    return print_error(console, opened.error().detail);
  }
  return Pinger(loop, *tunnel, std::move(*target), command, *interval, options.as_json, console)
      .run();
}

}  // namespace rooster::cli
