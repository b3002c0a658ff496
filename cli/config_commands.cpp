#include "cli/config_commands.hpp"

#include "cli/terminal.hpp"
#include "config/config_set.hpp"
#include "config/exposure.hpp"
#include "config/show.hpp"
#include "core/json_text.hpp"

#include <ostream>

namespace rooster::cli {
namespace {

void print_json_report(const Console& console, const config::LoadResult& loaded) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().field("ok", loaded.set != nullptr);
  json.field("apps", loaded.set ? loaded.set->apps.size() : 0U).key("diagnostics").begin_array();
  for (const config::Diagnostic& found : loaded.diagnostics) {
    json.begin_object();
    json.field("severity", found.severity == config::Severity::Error ? "error" : "warning");
    json.field("file", found.file)
        .field("line", found.place.line)
        .field("column", found.place.column);
    json.field("key", found.key).field("message", found.message).end_object();
  }
  json.end_array();
  if (loaded.set) {
    json.key("exposure").begin_object();
    for (const auto& app : loaded.set->apps) json.field(app->name, config::exposure(*app));
    json.end_object();
  }
  json.end_object();
  console.out << out << '\n';
}

void print_diagnostics(const Console& console, const config::LoadResult& loaded) {
  for (const config::Diagnostic& found : loaded.diagnostics) {
    const bool is_error = found.severity == config::Severity::Error;
    console.err << paint(console, is_error ? Colour::Red : Colour::Yellow,
                         is_error ? "error: " : "warning: ")
                << config::render(found) << '\n';
  }
}

// What is open to the internet must never be a surprise.
void print_exposures(const Console& console, const config::ConfigSet& set) {
  constexpr std::size_t kMostApps = 20;
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const auto& app : set.apps) {
    if (pairs.size() == kMostApps) break;
    pairs.emplace_back(app->name, config::exposure(*app));
  }
  print_pairs(console, pairs);
  if (set.apps.size() > kMostApps) {
    console.out << "  and " << set.apps.size() - kMostApps << " more\n";
  }
}

}  // namespace

int check_config(const Console& console, const std::string& config_file, bool strict,
                 bool as_json) {
  const config::LoadResult loaded = config::load(config_file, {.strict = strict});
  if (as_json) {
    print_json_report(console, loaded);
    return loaded.set ? 0 : 1;
  }
  console.out << "Validating " << config_file << '\n';
  print_diagnostics(console, loaded);
  if (!loaded.set) {
    console.out << paint(console, Colour::Red, "✘") << " Configuration is not valid\n";
    return 1;
  }
  console.out << paint(console, Colour::Green, "✓")
              << " Configuration is valid: " << loaded.set->apps.size() << " apps\n";
  print_exposures(console, *loaded.set);
  return 0;
}

int show_config(const Console& console, const std::string& config_file, const std::string& app,
                bool as_json) {
  const config::LoadResult loaded = config::load(config_file);
  if (!loaded.set) {
    print_diagnostics(console, loaded);
    return 1;
  }
  config::Node document = config::to_document(loaded.set->node);
  if (!app.empty()) {
    const auto found = loaded.set->find(app);
    if (!found) {
      console.err << paint(console, Colour::Red, "Error: ") << "no app named " << harmless(app)
                  << " in " << loaded.set->node.reloadable.apps << '\n';
      return 1;
    }
    document = config::to_document(*found);
  }
  console.out << (as_json ? config::to_json(document) + '\n' : config::to_toml(document));
  return 0;
}

}  // namespace rooster::cli
