// The top of a fly.toml: name, regions, signals, processes, env, statics, build; the tables have
// readers of their own.
#include "config/parse_app.hpp"

#include "config/app_reader.hpp"
#include "config/hostname.hpp"
#include "config/node_config.hpp"
#include "config/scalars.hpp"
#include "config/split_command.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>

namespace rooster::config {
namespace {

using namespace std::chrono_literals;

/// A host label out of any text: "My App@2" -> "my-app-2".
std::string to_app_name(std::string_view text) {
  std::string name;
  for (const char c : text.substr(0, 63)) {
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    const bool plain =
        (lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9') || lower == '_';
    name += plain ? lower : '-';
  }
  while (name.starts_with('-')) name.erase(0, 1);
  while (name.ends_with('-')) name.pop_back();
  return name.empty() ? "app" : name;
}

void read_name(TableReader& top, AppConfig& app, NamePlaces& places) {
  Report& report = top.report();
  const Member* const member = top.find("app");
  const std::string from_file = to_app_name(std::filesystem::path(report.file()).stem().string());
  app.name = from_file;
  const bool is_text = member != nullptr && member->value.is(Node::Kind::String);
  if (member == nullptr || (is_text && member->value.text.empty())) {
    report.warn(member == nullptr ? Place{1, 1} : member->value.place, "app",
                fmt::format("no name; \"{}\" is used, write app = \"{}\"", from_file, from_file));
    return;
  }
  if (!is_text) {
    top.wrong_type(member->value, "app", "text in quotes");
    return;
  }
  const std::string& written = member->value.text;
  places.app = member->value.place;
  if (is_label(written)) {
    app.name = to_app_name(written);
    if (app.name != written) {
      report.warn(places.app, "app",
                  fmt::format("names are lower case; write app = \"{}\"", app.name));
    }
    return;
  }
  report.warn(places.app, "app",
              fmt::format("\"{}\" can't be part of a host name; \"{}\" is used, write app = \"{}\"",
                          written, from_file, from_file));
}

void read_signals(TableReader& top, AppConfig& app) {
  static constexpr std::array<std::string_view, 8> kSignals{
      "SIGINT", "SIGTERM", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGKILL", "SIGSTOP", "SIGHUP"};
  const Member* const signal = top.find("kill_signal");
  top.read("kill_signal", app.kill_signal);
  if (std::ranges::find(kSignals, app.kill_signal) == kSignals.end()) {
    const auto meant = nearest(app.kill_signal, kSignals);
    top.report().error(
        signal->value.place, "kill_signal",
        fmt::format("\"{}\" is not a signal for this; write {}", app.kill_signal,
                    meant.empty() ? std::string("SIGINT or SIGTERM") : std::string(meant)));
  }
  // Fly's bound; a longer one is accepted there and cut.
  constexpr std::chrono::milliseconds kMostKillTimeout = 5min;
  if (top.read_duration("kill_timeout", app.kill_timeout, {}) &&
      app.kill_timeout > kMostKillTimeout) {
    top.report().warn(top.find("kill_timeout")->value.place, "kill_timeout",
                      "longer than 5m; it is cut to \"5m\", write that");
    app.kill_timeout = kMostKillTimeout;
  }
}

void read_command(const Node& value, const std::string& path, Report& report,
                  std::vector<std::string>& command) {
  if (value.is(Node::Kind::Array)) {
    for (const auto& item : value.items) {
      if (item.is(Node::Kind::String)) {
        command.push_back(item.text);
      } else {
        report.error(item.place, path, "every word of a command is text; put it in quotes");
      }
    }
    return;
  }
  if (!value.is(Node::Kind::String)) {
    report.error(
        value.place, path,
        fmt::format("{} is not a command; write it as text in quotes", in_words(value.kind)));
    return;
  }
  auto words = split_command(value.text);
  if (!words) {
    report.error(value.place, path, words.error() + "; close the quote");
    return;
  }
  command = std::move(*words);
  static constexpr std::array<std::string_view, 6> kShellWords{"&&", "||", "|", ">", ";", "<"};
  for (const auto& word : command) {
    if (std::ranges::find(kShellWords, word) == kShellWords.end()) continue;
    report.warn(value.place, path,
                fmt::format("no shell reads this, so \"{}\" is passed on as a word; "
                            "write sh -c '…'",
                            word));
    return;
  }
}

/// [processes] as a map, as the older [[processes]] of name and command, or empty.
void read_processes(TableReader& top, AppConfig& app) {
  const Member* const member = top.find("processes");
  Report& report = top.report();
  if (member != nullptr && member->value.is(Node::Kind::Table)) {
    for (const auto& [group, place, value] : member->value.members) {
      read_command(value, top.path("processes." + group), report,
                   app.processes.emplace_back(Process{group, {}}).command);
    }
  } else if (member != nullptr && member->value.is(Node::Kind::Array)) {
    for (std::size_t i = 0; i < member->value.items.size(); ++i) {
      const Node& item = member->value.items[i];
      const std::string path = top.item_path("processes", i);
      if (!item.is(Node::Kind::Table)) {
        top.wrong_type(item, path, "a table: [processes] with group = \"command\"");
        continue;
      }
      TableReader reader(item, path, report);
      Process& process = app.processes.emplace_back();
      reader.read("name", process.group);
      if (const Member* const command = reader.find("command")) {
        read_command(command->value, path + ".command", report, process.command);
      }
      reader.finish();
    }
  } else if (member != nullptr) {
    top.wrong_type(member->value, "processes", "a table: [processes] with group = \"command\"");
  }
  if (app.processes.empty()) app.processes.emplace_back();
  // The default group: "app", else the alphabetically first.
  std::ranges::sort(app.processes, [](const Process& a, const Process& b) {
    return std::pair(a.group != "app", a.group) < std::pair(b.group != "app", b.group);
  });
}

/// [experimental] entrypoint, cmd and exec are the older way to say the command. A cmd alone is an
/// argument of the image's entrypoint: no program of the host.
void read_experimental_command(TableReader& top, AppConfig& app) {
  const Member* const experimental = top.node().find("experimental");
  if (experimental == nullptr || !experimental->value.is(Node::Kind::Table)) return;
  const bool alone = app.processes.size() == 1 && app.processes.front().command.empty();
  std::vector<std::string> words;
  const auto append = [&](std::string_view key) {
    const Member* const part = experimental->value.find(key);
    if (part == nullptr) return false;
    std::vector<std::string> some;
    read_command(part->value, fmt::format("experimental.{}", key), top.report(), some);
    std::ranges::move(some, std::back_inserter(words));
    return true;
  };
  if (append("exec") || append("entrypoint")) {
    append("cmd");
    if (alone) app.processes.front().command = std::move(words);
  }
}

void read_env(TableReader& top, AppConfig& app) {
  for (const Node* const table : top.tables("env")) {
    for (const auto& [name, place, value] : table->members) {
      const auto text = scalar_text(value);
      const std::string path = top.path("env." + name);
      if (!text) {
        top.wrong_type(value, path, "text in quotes");
      } else if (name.starts_with("FLY_")) {
        top.report().error(place, path, "names beginning with FLY_ are the platform's; rename it");
      } else if (name.empty() || name.find('=') != std::string::npos ||
                 text->find('\0') != std::string::npos) {
        top.report().error(place, path, "not possible in an environment; rename it");
      } else {
        app.env.emplace_back(name, *text);
      }
    }
  }
}

void read_statics(TableReader& top, AppConfig& app) {
  constexpr std::size_t kMostStatics = 10;  // Fly's bound
  std::set<std::string> prefixes;
  std::size_t index = 0;
  for (const Node* const table : top.tables("statics")) {
    TableReader reader(*table, top.item_path("statics", index++), top.report());
    Static& one = app.statics.emplace_back();
    reader.read("guest_path", one.guest_path);
    reader.read("url_prefix", one.url_prefix);
    reader.read("tigris_bucket", one.tigris_bucket);
    reader.read("index_document", one.index_document);
    reader.finish();
    if (one.url_prefix.empty() || !one.url_prefix.starts_with('/')) {
      top.report().error(table->place, reader.path("url_prefix"),
                         "missing or not a path; write one that begins with /");
    } else if (!prefixes.insert(one.url_prefix).second) {
      top.report().error(table->place, reader.path("url_prefix"),
                         fmt::format("\"{}\" is given twice; keep one of the two", one.url_prefix));
    }
    if (one.guest_path.empty() && one.tigris_bucket.empty()) {
      top.report().error(table->place, reader.path("guest_path"),
                         "missing; write the folder to serve");
    }
    if (index == kMostStatics + 1) {
      top.report().error(table->place, reader.path(""),
                         "more than 10 [[statics]]; remove the rest");
    }
  }
}

// Below the app's own directory, for these are files that anybody may read: "" elsewhere.
std::string place_below(const std::string& directory, const std::string& guest_path) {
  const std::filesystem::path whole = std::filesystem::path(directory) / guest_path;
  std::string below = whole.lexically_normal().lexically_relative(directory).string();
  while (below.ends_with('/')) below.pop_back();
  const bool is_outside = below == "." || below == ".." || below.starts_with("../");
  return is_outside ? std::string() : below;
}

void place_statics(TableReader& top, AppConfig& app) {
  const auto tables = top.tables("statics");
  for (std::size_t i = 0; i < app.statics.size(); ++i) {
    Static& one = app.statics[i];
    const std::string path = fmt::format("statics[{}]", i);
    if (!one.tigris_bucket.empty()) {
      top.report().warn(tables[i]->place, path + ".tigris_bucket",
                        "buckets are not served: these requests go to the app; write a guest_path");
      continue;
    }
    one.folder = place_below(app.rooster.directory, one.guest_path);
    if (!one.folder.empty()) continue;
    top.report().warn(tables[i]->place, path + ".guest_path",
                      fmt::format("\"{}\" is not a folder below {}: these requests go to the app; "
                                  "write one from there on, such as \"public\"",
                                  one.guest_path, app.rooster.directory));
  }
}

void read_build(TableReader& top, AppConfig& app) {
  const Node* const build = top.table("build");
  if (build == nullptr) return;
  TableReader reader(*build, "build", top.report());
  reader.read("image", app.image);
  reader.accept({"builder", "args", "buildpacks", "settings", "builtin", "dockerfile", "ignorefile",
                 "build-target", "build_target", "target", "secrets", "compression",
                 "compression_level"});
  reader.finish();
}

void read_region(TableReader& top, AppConfig& app, std::string_view node_region) {
  const Member* const member = top.find("primary_region");
  top.read("primary_region", app.primary_region);
  if (!app.primary_region.empty() && !is_region(app.primary_region)) {
    top.report().error(member->value.place, "primary_region",
                       fmt::format("\"{}\" is not a region; write its short name such as \"gru\"",
                                   app.primary_region));
  }
  if (app.primary_region.empty()) app.primary_region = node_region;
}

}  // namespace

ParsedApp parse_app(std::string_view text, const std::string& file, std::string_view node_region) {
  ParsedApp parsed;
  Report report(file, text);
  const auto document = parse_document(text);
  if (!document) {
    report.error(document.error().place, "", document.error().message);
    parsed.diagnostics = report.take();
    return parsed;
  }
  AppConfig app;
  app.file = file;
  TableReader top(*document, "", report);
  read_name(top, app, parsed.places);
  if (app.name == kGatewayName) {
    report.error(parsed.places.app.line > 0 ? parsed.places.app : Place{1, 1}, "app",
                 "\"rooster\" is the node's own name, for peers of the private network; write "
                 "another, such as app = \"rooster-site\"");
  }
  read_region(top, app, node_region);
  read_signals(top, app);
  read_processes(top, app);
  read_experimental_command(top, app);
  read_env(top, app);
  read_build(top, app);
  read_statics(top, app);
  read_services(top, app);
  read_top_level_checks(top, app);
  read_rooster_table(top, app, parsed.places);
  place_statics(top, app);
  read_platform_tables(top);
  top.finish();
  if (!report.failed()) warn_of_contradictions(*document, app, report);
  if (!report.failed()) parsed.app = std::move(app);
  parsed.diagnostics = report.take();
  return parsed;
}

}  // namespace rooster::config
