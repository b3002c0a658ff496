#include "cli/ssh_console.hpp"

#include "cli/api_call.hpp"
#include "cli/node_client.hpp"
#include "cli/operator_commands.hpp"
#include "cli/run_task.hpp"
#include "cli/signals.hpp"
#include "cli/standard_streams.hpp"
#include "cli/terminal.hpp"
#include "config/split_command.hpp"
#include "core/json_text.hpp"
#include "net/http1.hpp"

#include <boost/json/parse.hpp>
#include <fmt/format.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <ostream>

#include <unistd.h>

namespace rooster::cli {
namespace {

using namespace std::chrono_literals;

constexpr int kUsage = 2;
constexpr auto kAnswerTime = 30s;
constexpr auto kOpenTime = 10s;
constexpr std::size_t kHeadBytes = 16 * 1024;
constexpr std::size_t kBodyBytes = 64 * 1024;

std::string refusal_text(const net::HttpResponse& response) {
  boost::system::error_code error;
  const auto body = boost::json::parse(response.body, error);
  const std::string why = error ? std::string() : text_at(body, "error");
  return why.empty() ? fmt::format("the node answered {}", response.status) : why;
}

// Sends the call; what came behind the 101.
Task<std::string> upgrade(Stream& stream, net::HttpRequest request, Waiter& waiter) {
  const TimePoint deadline = Clock::now() + kAnswerTime;
  stream.write(net::encode_request(request, "_api.internal"));
  net::ResponseReader reader(kHeadBytes, kBodyBytes, false);
  std::string input;
  for (;;) {
    std::array<char, 4096> block{};
    const ReadResult got = stream.read(block);
    if (got.status == ReadResult::Status::Later) {
      const Woke woke = co_await waiter.wait(deadline, stream.readable());
      if (woke == Woke::Interrupted) co_return Error(waiter.interrupted_by());
      if (woke == Woke::Deadline)
        co_return Error(Fault::UpstreamTimeout, "the node does not answer");
      continue;
    }
    if (got.status != ReadResult::Status::Some) {
      co_return Error(Fault::UpstreamReset, "the node hung up before it answered");
    }
    input.append(block.data(), got.bytes);
    const auto used = reader.put(input);
    if (!used) co_return used.error();
    input.erase(0, *used);
    if (!reader.has_head()) continue;
    if (reader.status() == 101) co_return input;
    if (reader.is_done()) co_return Error(Fault::NotAllowed, refusal_text(reader.take()));
  }
}

class Command {
 public:
  Command(const DeveloperOptions& options, const ConsoleCommand& command, const Console& console)
      : options_(options), command_(command), console_(console) {}

  int run(const std::string& app, std::vector<std::string> argv) {
    wish_ = command_.wish;
    wish_.app = app;
    auto way = choose_way(options_, loop_, [this](std::string_view line) { say(line); });
    if (!way) return failed(way.error());
    way_ = std::move(*way);
    const auto machine = find_machine();
    if (!machine) return failed(machine.error());
    ExecCall call{.app = app,
                  .machine = machine->id,
                  .argv = std::move(argv),
                  .user = command_.user,
                  .pty = has_terminal() || command_.wants_pty,
                  .start = command_.start,
                  .terminal = {},
                  .size = {}};
    if (const char* term = std::getenv("TERM"); call.pty && term != nullptr) call.terminal = term;
    if (const auto size = terminal_size(STDOUT_FILENO); call.pty && size) {
      call.size = net::ExecSize{size->rows, size->columns};
    }
    return execute(call, machine->address.empty() ? machine->id : machine->address);
  }

 private:
  static bool has_terminal() { return ::isatty(STDIN_FILENO) != 0 && ::isatty(STDOUT_FILENO) != 0; }

  Result<MachineRow> find_machine() {
    using Rows = std::vector<MachineRow>;
    if (const auto opened = way_->open_now(loop_, kOpenTime); !opened) return fail(opened.error());
    const auto rows = run_task<Rows>(
        loop_, [this](Waiter& waiter) { return fetch_machines(*way_, wish_.app, waiter); });
    if (!rows) return fail(rows.error());
    const auto fitting = fitting_machines(*rows, wish_);
    if (!fitting) return fail(Fault::NoRoute, fitting.error());
    if (command_.select) {
      const auto chosen = ask_which(*fitting, console_);
      if (!chosen) return fail(Fault::BadRequest, chosen.error());
      return (*fitting)[*chosen];
    }
    const MachineRow& first = fitting->front();
    if (fitting->size() > 1) {
      say(fmt::format("No machine specified, using {} in region {}", first.id, first.region));
    }
    return first;
  }

  int execute(const ExecCall& call, const std::string& place) {
    say(fmt::format("Connecting to {}...", place));
    std::unique_ptr<Stream> stream;
    std::string first;
    const auto connected =
        run_task<void>(loop_, [&](Waiter& waiter) { return connect(call, stream, first, waiter); });
    if (!connected) return failed(connected.error());
    say(fmt::format("Connecting to {}... complete", place));
    const auto status = talk(call.pty, *stream, std::move(first));
    return status ? *status : failed(status.error());
  }

  Task<> connect(const ExecCall& call, std::unique_ptr<Stream>& to, std::string& first,
                 Waiter& waiter) {
    auto stream = co_await way_->dial_api(waiter, Clock::now() + kOpenTime);
    if (!stream) co_return stream.error();
    net::HttpRequest request = exec_request(call);
    if (const std::string token = way_->token(); !token.empty()) {
      request.fields.emplace_back("Authorization", "Bearer " + token);
    }
    auto input = co_await upgrade(**stream, std::move(request), waiter);
    if (!input) co_return input.error();
    to = std::move(*stream);
    first = std::move(*input);
    co_return {};
  }

  Result<int> talk(bool has_pty, Stream& node, std::string first) {
    ConsoleSession* session = nullptr;
    int interrupts = 0;
    // Before the threads that carry the standard streams: none of them shall get a signal.
    Signals signals(loop_, {SIGINT, SIGTERM, SIGWINCH}, [&](int number, bool) {
      if (session == nullptr) return;
      if (number == SIGWINCH) {
        if (const auto size = terminal_size(STDOUT_FILENO)) {
          session->send_size({size->rows, size->columns});
        }
        return;
      }
      // A command that takes no notice is left behind at the third.
      if (++interrupts > 2) ::_exit(128 + number);
      session->send_signal(static_cast<std::uint8_t>(number));
    });
    StandardStreams streams(loop_);
    std::optional<RawTerminal> raw;
    is_raw_ = has_pty && has_terminal();
    if (is_raw_) raw.emplace(STDIN_FILENO);
    auto status = run_task<int>(loop_, [&](Waiter& waiter) {
      return run_session({node, streams.input(), streams.output(), streams.errors()}, waiter,
                         std::move(first), session);
    });
    is_raw_ = false;
    if (status) streams.finish();
    return status;
  }

  Task<int> run_session(ConsoleSession::Ends ends, Waiter& waiter, std::string first,
                        ConsoleSession*& current) {
    ConsoleSession session(ends, waiter);
    session.set_on_notice([this](std::string_view line) { say(line); });
    current = &session;
    auto status = co_await session.run(std::move(first));
    current = nullptr;
    co_return status;
  }

  void say(std::string_view line) {
    if (!options_.quiet) console_.err << harmless(line) << end_of_line() << std::flush;
  }
  int failed(const Error& error) {
    std::string text =
        error.detail.empty() ? std::string(describe(error.fault).hint) : error.detail;
    if (const std::string why = way_ ? way_->why_lost() : std::string(); !why.empty()) {
      text += " (" + why + ")";
    }
    console_.err << paint(console_, Colour::Red, "Error: ") << text << '\n' << std::flush;
    return kConsoleFailed;
  }
  const char* end_of_line() const { return is_raw_ ? "\r\n" : "\n"; }

  Loop loop_;
  const DeveloperOptions& options_;
  const ConsoleCommand& command_;
  const Console& console_;
  MachineWish wish_;
  std::unique_ptr<Way> way_;
  bool is_raw_ = false;
};

}  // namespace

net::HttpRequest exec_request(const ExecCall& call) {
  net::HttpRequest request;
  request.method = "POST";
  request.target = fmt::format("/v1/apps/{}/machines/{}/exec", net::encode_query(call.app),
                               net::encode_query(call.machine));
  request.fields = {{"Connection", "Upgrade"},
                    {"Upgrade", std::string(net::kExecProtocol)},
                    {"Content-Type", "application/json"}};
  JsonWriter json(request.body);
  json.begin_object().key("command").begin_array();
  for (const std::string& word : call.argv) json.value(word);
  json.end_array().field("pty", call.pty).field("start", call.start);
  if (!call.user.empty()) json.field("user", call.user);
  if (!call.terminal.empty()) json.field("term", call.terminal);
  if (call.size) json.field("rows", call.size->rows).field("columns", call.size->columns);
  json.end_object();
  return request;
}

int run_console(const DeveloperOptions& options, const ConsoleCommand& command,
                const Console& console) {
  const auto usage = [&console](std::string_view text) {
    print_error(console, text);
    return kUsage;
  };
  const std::string app =
      find_app_name(options.app, std::getenv("FLY_APP"), std::filesystem::current_path().string());
  if (app.empty()) return usage(no_app_text());
  if (command.select && !command.wish.id.empty()) {
    return usage("--machine can't be used with -s/--select");
  }
  std::vector<std::string> argv;
  if (!command.command.empty()) {
    auto words = config::split_command(command.command);
    if (!words) return usage("-C: " + words.error());
    if (words->empty()) return usage("-C: the command is empty");
    argv = std::move(*words);
  }
  return Command(options, command, console).run(app, std::move(argv));
}

}  // namespace rooster::cli
