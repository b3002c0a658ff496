#include "cli/dig_command.hpp"

#include "cli/operator_commands.hpp"
#include "cli/run_task.hpp"
#include "cli/terminal.hpp"
#include "core/json_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <ostream>

#include <sys/random.h>

namespace rooster::cli {
namespace {

using namespace std::chrono_literals;

constexpr int kUsage = 2;
constexpr auto kOpenTime = 10s;
constexpr auto kLookUpTime = 15s;  // a recursive one may take long
constexpr std::size_t kMaxStreamBytes = dns::kMaxMessageBytes + 2;

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return out;
}

bool is_private(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  const std::string text = upper(name);
  return text.ends_with(".INTERNAL") || text.ends_with(".FLYCAST");
}

std::uint16_t random_id() {
  std::uint16_t id = 0;
  // Over a stream nobody can guess at, any id does.
  if (::getrandom(&id, sizeof id, 0) != sizeof id) return 1;
  return id;
}

void print_json(const Console& console, const dns::Response& response) {
  std::string line;
  JsonWriter json(line);
  json.begin_object().field("status", dns::rcode_to_text(response.rcode)).key("answers");
  json.begin_array();
  for (const std::string& answer : dns::short_lines(response)) json.value(answer);
  json.end_array().end_object();
  console.out << line << '\n';
}

}  // namespace

std::expected<dns::Question, std::string> parse_dig(const std::vector<std::string>& words) {
  if (words.empty() || words.size() > 2) {
    return std::unexpected("write rooster dig [type] name, e.g. rooster dig aaaa db.internal");
  }
  std::string type = words.size() == 2 ? upper(words.front()) : "AAAA";
  // flyctl's names for lookups by another resolver of its own.
  if (type.ends_with("-NATIVE")) type.resize(type.size() - std::strlen("-NATIVE"));
  const auto number = dns::type_from_text(type);
  if (!number) return std::unexpected("don't understand DNS type " + words.front());
  dns::Question question{.name = words.back(),
                         .type = *number,
                         .recursion_desired = !is_private(words.back()),
                         .udp_bytes = dns::kMaxUdpBytes,
                         .dnssec_ok = false};
  if (!dns::make_query(question, 0)) {
    return std::unexpected(fmt::format("\"{}\" can't be a name in DNS", words.back()));
  }
  return question;
}

Task<dns::Response> look_up(Way& way, dns::Question question, Waiter& waiter, TimePoint deadline) {
  const auto query = dns::make_query(question, random_id());
  if (!query) co_return Error(Fault::BadRequest, "no name");
  auto stream = co_await way.dial_dns(waiter, deadline);
  if (!stream) co_return stream.error();
  (*stream)->write(dns::frame(*query));
  std::string input;
  for (;;) {
    std::array<char, 4096> block{};
    const ReadResult got = (*stream)->read(block);
    if (got.status == ReadResult::Status::Later) {
      const Woke woke = co_await waiter.wait(deadline, (*stream)->readable());
      if (woke == Woke::Interrupted) co_return Error(waiter.interrupted_by());
      if (woke == Woke::Deadline) co_return Error(Fault::UpstreamTimeout, "the server is silent");
      continue;
    }
    if (got.status != ReadResult::Status::Some) {
      co_return Error(Fault::UpstreamTruncated, "the server hung up inside its answer");
    }
    input.append(block.data(), got.bytes);
    std::string_view rest = input;
    const auto message = dns::take_frame(rest);
    if (message) {
      auto response = dns::read_response(*message);
      if (!response || !dns::answers(*response, *query)) {
        co_return Error(Fault::UpstreamBadResponse, "the server's answer is none to this question");
      }
      co_return std::move(*response);
    }
    if (input.size() > kMaxStreamBytes) co_return Error(Fault::UpstreamBadResponse, "too long");
  }
}

int dig_through(Loop& loop, Way& way, const dns::Question& question, bool is_short, bool as_json,
                const Console& console) {
  const auto response = run_task<dns::Response>(loop, [&](Waiter& waiter) {
    return look_up(way, question, waiter, Clock::now() + kLookUpTime);
  });
  if (!response) {
    const Error& error = response.error();
    return print_error(
        console, "lookup failed: " + (error.detail.empty() ? std::string(describe(error.fault).hint)
                                                           : error.detail));
  }
  if (as_json) {
    print_json(console, *response);
  } else if (is_short) {
    for (const std::string& line : dns::short_lines(*response)) {
      console.out << harmless(line) << '\n';
    }
  } else {
    console.out << dns::to_text(*response);
  }
  console.out << std::flush;
  if (response->rcode == 0) return 0;
  return print_error(console, "lookup failed: " + dns::rcode_to_text(response->rcode));
}

int run_dig(const DeveloperOptions& options, const std::vector<std::string>& words, bool is_short,
            const Console& console) {
  const auto question = parse_dig(words);
  if (!question) {
    print_error(console, question.error());
    return kUsage;
  }
  Loop loop;
  const auto way = choose_way(options, loop, [](std::string_view) {});
  if (!way) return print_error(console, way.error().detail);
  const auto opened = (*way)->open_now(loop, kOpenTime);
  if (!opened) return print_error(console, opened.error().detail);
  return dig_through(loop, **way, *question, is_short, options.as_json, console);
}

}  // namespace rooster::cli
