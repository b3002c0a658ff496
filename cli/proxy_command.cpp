#include "cli/proxy_command.hpp"

#include "cli/choose_machine.hpp"
#include "cli/operator_commands.hpp"
#include "cli/proxy_check.hpp"
#include "cli/proxy_session.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include <sys/resource.h>

namespace rooster::cli {
namespace {

constexpr int kUsage = 2;
constexpr auto kOpenTime = std::chrono::seconds(10);
constexpr rlim_t kDescriptors = 3 * ProxySession::kMostConnections;

int usage_error(const Console& console, std::string_view text) {
  print_error(console, text);
  return kUsage;
}

// Each connection holds two descriptors.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  // Not more than is needed: a program beside the proxy inherits it.
  limit.rlim_cur = std::max(limit.rlim_cur, std::min<rlim_t>(limit.rlim_max, kDescriptors));
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

int run_proxy(const DeveloperOptions& options, const ProxyCommand& command,
              const Console& console) {
  const std::string app =
      find_app_name(options.app, std::getenv("FLY_APP"), std::filesystem::current_path().string());
  if (command.select && app.empty()) {
    return usage_error(console, "--app required when --select flag provided");
  }
  if (command.watch_input && !command.program.empty()) {
    return usage_error(console, "--watch-stdin and a program both want standard input");
  }
  auto mappings = parse_mappings(command.words, app);
  if (!mappings) return usage_error(console, mappings.error());

  if (command.check) return check_proxy(options, *mappings, console);
  raise_descriptor_limit();
  Loop loop;
  const ProxyVoice::Manner manner{
      .as_json = options.as_json, .quiet = options.quiet, .verbose = options.verbose};
  ProxyVoice early(console, manner);
  ProxySession* running = nullptr;
  auto way = choose_way(options, loop, [&early, &running](std::string_view line) {
    (running == nullptr ? early : running->voice()).state(line);
  });
  if (!way) return print_error(console, way.error().detail);
  if (command.select) {
    const auto machine = select_machine(loop, **way, app, console);
    if (!machine) return print_error(console, machine.error().detail);
    for (ProxyMapping& mapping : *mappings) mapping.remote.host = *machine;
  }
  if (const auto opened = (*way)->open_now(loop, kOpenTime); !opened) {
    return print_error(console, opened.error().detail);
  }
  ProxySession session(loop, **way,
                       {.mappings = std::move(*mappings),
                        .bind_address = command.bind_address,
                        .watch_input = command.watch_input,
                        .command = command.program,
                        .manner = manner},
                       console);
  running = &session;
  const int status = session.run();
  running = nullptr;
  return status;
}

}  // namespace rooster::cli
