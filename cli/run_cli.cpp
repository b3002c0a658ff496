// The commands and their flags (further ones: developer_arguments.cpp,
// network_arguments.cpp).
#include "cli/run_cli.hpp"

#include "cli/command_tree.hpp"
#include "cli/config_commands.hpp"
#include "cli/developer_arguments.hpp"
#include "cli/network_arguments.hpp"
#include "cli/operator_commands.hpp"
#include "cli/terminal.hpp"

#include <CLI/CLI.hpp>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <vector>

#include <unistd.h>

namespace rooster::cli {
namespace {

constexpr int kUsage = 2;

// Everything that can be said on the command line.
struct Choices {
  std::string config_file;
  bool as_json = false;
  std::string app;
  std::string subject;
  std::string shell;
  bool strict = false;
  bool from_node = false;
  bool only_ids = false;
  bool no_tail = false;
  std::string log_format = "human";
  std::string log_level = "info";
  LogChoice logs;
  MachineChoice machines;
};

class CommandLine {
 public:
  CommandLine(const Commands& commands, const Console& console)
      : commands_(commands), console_(console), developer_(console), network_(console) {
    app_.name("rooster");
    app_.require_subcommand(1);
    app_.fallthrough();
    app_.add_option("-c,--config", choices_.config_file, "The node's rooster.toml");
    app_.add_flag("--json", choices_.as_json, "Print JSON");
    app_.set_version_flag("-v,--version", "rooster " ROOSTER_VERSION, "Print the version");
    add_node_commands();
    add_config_commands();
    add_machine_commands();
    add_looking_commands();
    const auto below = [this](CLI::App& parent, const std::string& name, const std::string& help,
                              std::function<int()> action) {
      return add(parent, name, help, std::move(action));
    };
    developer_.add_to(app_, below, choices_.config_file, choices_.as_json);
    network_.add_to(app_, below, choices_.config_file, choices_.as_json);
    add_completion();
  }

  int run(int argc, const char* const* argv) {
    std::vector<std::string> arguments{argv + std::min(argc, 1), argv + argc};
    developer_.take_program(arguments);
    try {
      // CLI11 takes a vector from its end.
      app_.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
    } catch (const CLI::ParseError& error) {
      return explain_parse_error(error, arguments);
    }
    return action_ ? action_() : kUsage;
  }

 private:
  CLI::App* add(CLI::App& parent, const std::string& name, const std::string& help,
                std::function<int()> action) {
    CLI::App* command = parent.add_subcommand(name, help);
    command->fallthrough();
    if (action) {
      command->callback([this, action = std::move(action)] { action_ = action; });
    } else {
      command->require_subcommand(1);
    }
    return command;
  }

  void add_app_flag(CLI::App* command) {
    command->add_option("-a,--app", choices_.app, "Only this app");
  }

  void add_node_commands() {
    CLI::App* serve = add(app_, "serve", "Run the node", [this] { return this->serve(); });
    serve->add_option("--log-format", choices_.log_format, "human or json")
        ->check(CLI::IsMember({"human", "json"}));
    serve->add_option("--log-level", choices_.log_level, "debug, info, warn or error")
        ->check(CLI::IsMember({"debug", "info", "warn", "error"}));
    add(app_, "reload", "Take up changed files; all or nothing",
        [this] { return ask([](const Asking& asking) { return reload(asking); }); });
    add(app_, "version", "Print the version", [this] {
      console_.out << (choices_.as_json ? R"({"name":"rooster","version":")" ROOSTER_VERSION "\"}"
                                        : "rooster " ROOSTER_VERSION)
                   << '\n';
      return 0;
    });
  }

  void add_config_commands() {
    CLI::App* config = add(app_, "config", "Look at the configuration", {});
    CLI::App* check = add(*config, "check", "Every mistake in every file, with its place", [this] {
      return check_config(console_, config_file(), choices_.strict, choices_.as_json);
    });
    check->add_flag("-s,--strict", choices_.strict, "Warnings are errors");
    CLI::App* show =
        add(*config, "show", "The effective configuration, defaults filled in", [this] {
          if (!choices_.from_node) {
            return show_config(console_, config_file(), choices_.app, choices_.as_json);
          }
          return ask(
              [this](const Asking& asking) { return show_running_config(asking, choices_.app); });
        });
    add_app_flag(show);
    show->add_flag("--running", choices_.from_node,
                   "What the node uses now, rather than the files");
  }

  void add_machine_commands() {
    CLI::App* machine = add(app_, "machine", "Look at machines, start and stop them", {});
    machine->alias("machines");
    CLI::App* list = add(*machine, "list", "All machines", [this] {
      return ask([this](const Asking& asking) {
        return list_machines(asking, choices_.app, choices_.only_ids);
      });
    });
    add_app_flag(list);
    list->add_flag("-q,--quiet", choices_.only_ids, "Only the ids");
    add_order(machine, "start", "Start machines");
    CLI::App* stop = add_order(machine, "stop", "Stop machines: drain, kill_signal, SIGKILL");
    stop->add_option("-s,--signal", choices_.machines.signal, "Instead of kill_signal");
    stop->add_option("--timeout", choices_.machines.timeout_seconds, "Seconds before SIGKILL")
        ->check(CLI::Range(0, 300));
    add_order(machine, "suspend", "Freeze machines, memory kept");
    add_order(machine, "cordon", "Give machines no new requests");
    add_order(machine, "uncordon", "Give them requests again");
  }

  CLI::App* add_order(CLI::App* machine, const std::string& order, const std::string& help) {
    CLI::App* command = add(*machine, order, help, [this, order] {
      choices_.machines.order = order;
      choices_.machines.app = choices_.app;
      if (choices_.machines.ids.empty() && choices_.app.empty()) {
        print_error(
            console_,
            "which machines? Give ids (rooster machine list), or -a <app> for all of an app");
        return kUsage;
      }
      return ask(
          [this](const Asking& asking) { return order_machines(asking, choices_.machines); });
    });
    add_app_flag(command);
    command->add_option("id", choices_.machines.ids, "Machine ids");
    return command;
  }

  void add_looking_commands() {
    CLI::App* status = add(app_, "status", "What is awake, what sleeps, what waits", [this] {
      return ask([this](const Asking& asking) { return show_status(asking, choices_.app); });
    });
    add_app_flag(status);
    CLI::App* checks = add(app_, "checks", "Health checks of the machines", [this] {
      return ask([this](const Asking& asking) { return show_checks(asking, choices_.app); });
    });
    checks->add_subcommand("list", "The same")->fallthrough();
    add_app_flag(checks);
    CLI::App* explain_command =
        add(app_, "explain", "Why a request goes where, or why an app is awake or asleep", [this] {
          return ask([this](const Asking& asking) { return explain(asking, choices_.subject); });
        });
    explain_command
        ->add_option("url-or-app", choices_.subject, "https://host/path, or an app's name")
        ->required();
    CLI::App* logs = add(app_, "logs", "The apps' output", [this] {
      choices_.logs.app = choices_.app;
      choices_.logs.follow = choices_.logs.follow && !choices_.no_tail;
      return ask([this](const Asking& asking) { return show_logs(asking, choices_.logs); });
    });
    add_app_flag(logs);
    logs->add_flag("-f,--follow", choices_.logs.follow, "Go on as lines come");
    logs->add_flag("-n,--no-tail", choices_.no_tail, "Only what is there");
    logs->add_option("-m,--machine", choices_.logs.machine, "Only this machine");
    logs->add_option("-r,--region", choices_.logs.region, "Only this region");
    logs->add_option("--lines", choices_.logs.lines, "The last so many lines")
        ->check(CLI::Range(1, 10000));
  }

  void add_completion() {
    CLI::App* completion = add(app_, "completion", "Completion script for a shell", [this] {
      const CommandInfo root = tree_of(app_);
      console_.out << (choices_.shell == "bash"  ? bash_completion(root)
                       : choices_.shell == "zsh" ? zsh_completion(root)
                                                 : fish_completion(root));
      return 0;
    });
    completion->add_option("shell", choices_.shell, "bash, zsh or fish")
        ->required()
        ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  }

  static CommandInfo tree_of(const CLI::App& app) {
    CommandInfo info{
        .name = app.get_name(), .help = app.get_description(), .flags = {}, .commands = {}};
    for (const CLI::Option* option : app.get_options()) {
      if (option->get_lnames().empty()) continue;  // an argument
      info.flags.push_back(
          {.name = "--" + option->get_lnames().front(),
           .short_name = option->get_snames().empty() ? "" : "-" + option->get_snames().front(),
           .help = option->get_description(),
           .takes_value = option->get_items_expected_max() > 0});
    }
    for (const CLI::App* child : app.get_subcommands({})) {
      info.commands.push_back(tree_of(*child));
      for (const std::string& alias : child->get_aliases()) {
        info.commands.push_back(info.commands.back());
        info.commands.back().name = alias;
      }
    }
    return info;
  }

  int explain_parse_error(const CLI::ParseError& error, const std::vector<std::string>& arguments) {
    if (error.get_exit_code() == 0) {  // --help, --version
      app_.exit(error, console_.out, console_.err);
      return 0;
    }
    const auto unknown = find_unknown(tree_of(app_), arguments);
    print_error(console_, unknown ? *unknown : error.what());
    console_.err << "Run `rooster --help`, or `rooster <command> --help`.\n";
    return kUsage;
  }

  std::string config_file() const {
    const std::string file = choices_.config_file.empty() ? "rooster.toml" : choices_.config_file;
    return std::filesystem::absolute(file).lexically_normal().string();
  }

  int serve() {
    ServeOptions options;
    options.config_file = config_file();
    options.log_format = choices_.log_format == "json" ? LogFormat::Json : LogFormat::Human;
    for (const LogLevel level :
         {LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error}) {
      if (name_of(level) == choices_.log_level) options.log_level = level;
    }
    return commands_.serve(options);
  }

  template <class Command>
  int ask(Command command) {
    const auto address = find_admin(choices_.config_file, std::getenv("ROOSTER_ADMIN"));
    if (!address) return print_error(console_, address.error().detail);
    const NodeClient node(*address);
    return command(Asking{.node = node, .console = console_, .as_json = choices_.as_json});
  }

  const Commands& commands_;
  const Console& console_;
  Choices choices_;
  DeveloperArguments developer_;
  NetworkArguments network_;
  std::function<int()> action_;
  CLI::App app_{"Rooster: an HTTPS edge proxy for apps that sleep"};
};

}  // namespace

int run_cli(int argc, const char* const* argv, const Commands& commands, const Console& console) {
  return CommandLine(commands, console).run(argc, argv);
}

int run_cli(int argc, char** argv, const Commands& commands) {
  const char* no_colour = std::getenv("NO_COLOR");
  const bool has_colour =
      isatty(STDOUT_FILENO) != 0 && (no_colour == nullptr || *no_colour == '\0');
  return run_cli(argc, argv, commands,
                 {.out = std::cout, .err = std::cerr, .has_colour = has_colour});
}

}  // namespace rooster::cli
