#include "cli/developer_arguments.hpp"

#include "cli/dig_command.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>

namespace rooster::cli {

DeveloperOptions DeveloperArguments::options() const {
  DeveloperOptions all = options_;
  all.config_file = *config_file_;
  all.as_json = *as_json_;
  return all;
}

void DeveloperArguments::add_to(CLI::App& root, const Add& add, const std::string& config_file,
                                const bool& as_json) {
  config_file_ = &config_file;
  as_json_ = &as_json;
  add_proxy(root, add);
  add_console(root, add);
  add_dig(root, add);
  add_ping(root, add);
}

void DeveloperArguments::take_program(std::vector<std::string>& arguments) {
  const auto dashes = std::ranges::find(arguments, "--");
  if (dashes == arguments.end()) return;
  if (std::find(arguments.begin(), dashes, "proxy") == dashes) return;
  proxy_.program.assign(dashes + 1, arguments.end());
  arguments.erase(dashes, arguments.end());
}

void DeveloperArguments::add_way_flags(CLI::App* command) {
  command->add_option("--peer", options_.peer_file,
                      "A peer's file (rooster wireguard create), instead of a login");
  command->add_option("--network", options_.network, "Which network, where you are in several");
  command->add_option("--stack", options_.stack, "TCP in the tunnel: auto, netns or lwip")
      ->check(CLI::IsMember({"auto", "netns", "lwip"}));
}

void DeveloperArguments::add_proxy(CLI::App& root, const Add& add) {
  CLI::App* proxy = add(root, "proxy", "Local ports that lead to an app's machines, waking them",
                        [this] { return run_proxy(options(), proxy_, console_); });
  proxy->add_option("mapping", proxy_.words,
                    "5432, 15432:5432, 0:5432, ./socket:5432; behind them a host, if it is not "
                    "<app>.internal");
  proxy->add_option("-a,--app", options_.app, "The app; default: $FLY_APP, fly.toml's");
  proxy->add_option("-b,--bind-addr", proxy_.bind_address, "Listen there; default: localhost");
  proxy->add_flag("-s,--select", proxy_.select, "Choose the machine from a list");
  proxy->add_flag("-q,--quiet", options_.quiet, "Don't print progress");
  proxy->add_flag("-v,--verbose", options_.verbose, "Tell of each connection, and of the stack");
  proxy->add_flag("--watch-stdin", proxy_.watch_input, "End when standard input ends");
  proxy->add_flag("--check", proxy_.check, "Try each step of the way, and say how it went");
  proxy->footer(
      "-- program...   runs it beside the proxy, with $ROOSTER_PROXY_1 and so on; ends with it");
  add_way_flags(proxy);
}

void DeveloperArguments::add_console(CLI::App& root, const Add& add) {
  CLI::App* ssh = add(root, "ssh", "Work inside a machine", {});
  CLI::App* console = add(*ssh, "console", "A shell or a command inside a machine, waking it",
                          [this] { return run_console(options(), ssh_, console_); });
  console->add_option("-a,--app", options_.app, "The app; default: $FLY_APP, fly.toml's");
  console->add_option("-C,--command", ssh_.command, "Run this instead of a shell");
  console->add_option("--machine", ssh_.wish.id, "In this machine");
  console->add_option("-r,--region", ssh_.wish.region, "In a machine of this region");
  console->add_option("-g,--process-group", ssh_.wish.group, "In a machine of this group");
  console->add_option("-u,--user", ssh_.user, "As this user; default: the machine's");
  console->add_flag("-s,--select", ssh_.select, "Choose the machine from a list");
  console->add_flag("--pty", ssh_.wants_pty, "A terminal for the command, even without one here");
  console->add_flag("--start", ssh_.start, "Start the machine even if auto_start_machines is off");
  console->add_flag("-q,--quiet", options_.quiet, "Don't print progress");
  add_way_flags(console);
}

void DeveloperArguments::add_dig(CLI::App& root, const Add& add) {
  CLI::App* dig = add(root, "dig", "Look a name up in the private network",
                      [this] { return run_dig(options(), dig_words_, dig_short_, console_); });
  dig->add_option("name", dig_words_, "[type] name; aaaa where no type is given")->required();
  dig->add_flag("-s,--short", dig_short_, "Only the answers");
  add_way_flags(dig);
}

void DeveloperArguments::add_ping(CLI::App& root, const Add& add) {
  CLI::App* ping = add(root, "ping", "Echo requests through the tunnel; they wake nothing",
                       [this] { return run_ping(options(), ping_, console_); });
  ping->add_option("host", ping_.target,
                   "gateway, a name.internal or an address; default: gateway");
  ping->add_option("-n,--count", ping_.count, "So many; default: until Ctrl-C");
  ping->add_option("-i,--interval", ping_.interval, "Between two, at least 100ms; default: 1s");
  ping->add_option("-s,--size", ping_.payload_bytes, "Bytes in each, at most 1000; default: 12");
  add_way_flags(ping);
}

}  // namespace rooster::cli
