#include "cli/proxy_voice.hpp"

#include "cli/terminal.hpp"
#include "core/json_text.hpp"

#include <ostream>

namespace rooster::cli {

void ProxyVoice::event(std::string_view kind, std::string_view remote, std::string_view text) {
  std::string line;
  JsonWriter json(line);
  json.begin_object().field("event", kind);
  if (!remote.empty()) json.field("remote", remote);
  json.field("text", text).end_object();
  console_.out << line << '\n' << std::flush;
}

void ProxyVoice::proxying(const ProxyMapping& mapping, std::uint16_t bound_port) {
  if (!manner_.as_json) {
    console_.out << proxying_line(mapping, bound_port) << '\n' << std::flush;
    return;
  }
  std::string line;
  JsonWriter json(line);
  json.begin_object().field("event", "proxying").field("local", local_place(mapping, bound_port));
  if (!mapping.is_unix()) json.field("port", bound_port);
  json.field("remote", mapping.remote.to_string()).end_object();
  console_.out << line << '\n' << std::flush;
}

void ProxyVoice::progress(const net::ConnectTarget& remote, std::string_view line, TimePoint now) {
  const std::string text = harmless(line);
  // What repeats is not counted here: a hundred connections wait for one wake.
  const auto fresh = progress_.add(text, now);
  if (fresh.empty() || fresh.back() != text) return;
  if (manner_.as_json) {
    event("progress", remote.to_string(), text);
  } else if (!manner_.quiet) {
    console_.err << paint(console_, Colour::Dim, text) << '\n' << std::flush;
  }
}

void ProxyVoice::failure(const net::ConnectTarget& remote, std::string line, TimePoint now) {
  line = harmless(line);
  if (manner_.as_json) {
    event("failed", remote.to_string(), line);
    return;
  }
  print_all(failures_.add(std::move(line), now));
}

void ProxyVoice::print_all(const std::vector<std::string>& lines) {
  for (const std::string& line : lines) {
    console_.err << paint(console_, Colour::Yellow, line) << '\n' << std::flush;
  }
}

void ProxyVoice::state(std::string_view line) {
  if (manner_.as_json) {
    event("state", "", line);
  } else if (!manner_.quiet) {
    console_.err << harmless(line) << '\n' << std::flush;
  }
}

void ProxyVoice::warning(std::string_view line) {
  if (manner_.as_json) {
    event("warning", "", line);
    return;
  }
  console_.err << paint(console_, Colour::Yellow, "Warning: ") << harmless(line) << '\n'
               << std::flush;
}

void ProxyVoice::error(std::string_view line) {
  if (manner_.as_json) event("error", "", line);
  console_.err << paint(console_, Colour::Red, "Error: ") << harmless(line) << '\n' << std::flush;
}

void ProxyVoice::detail(std::string_view line) {
  if (manner_.verbose) state(line);
}

void ProxyVoice::tick(TimePoint now) {
  progress_.due(now);
  print_all(failures_.due(now));
}

void ProxyVoice::end() {
  print_all(failures_.rest());
}

}  // namespace rooster::cli
