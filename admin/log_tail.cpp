#include "admin/log_tail.hpp"

#include "core/log.hpp"

#include <algorithm>
#include <utility>

namespace rooster::admin {
namespace {

// What a line costs beside its text.
constexpr std::size_t kLineOverhead = sizeof(LogLine) + 64;

std::size_t cost(const LogLine& line) {
  return line.message.size() + kLineOverhead;
}

// The length of an SGR sequence ("\x1b[1;31m") at the text's begin, 0 if there is none.
std::size_t colour_length(std::string_view text) {
  if (!text.starts_with("\x1b[")) return 0;
  const std::size_t end = text.find_first_not_of("0123456789;", 2);
  return end != std::string_view::npos && text[end] == 'm' && end < 24 ? end + 1 : 0;
}

void append_harmless(std::string& out, std::string_view text) {
  while (!text.empty()) {
    if (const std::size_t length = colour_length(text); length != 0) {
      out += text.substr(0, length);
      text.remove_prefix(length);
      continue;
    }
    const auto byte = static_cast<unsigned char>(text.front());
    out += (byte < 0x20 && byte != '\t') || byte == 0x7F ? '?' : text.front();
    text.remove_prefix(1);
  }
}

}  // namespace

std::string format_fly_line(const LogLine& line) {
  std::string out = format_time(line.at);
  out.erase(out.size() - 5, 4);  // ".042": flyctl prints whole seconds
  out += ' ';
  out += line.provider;
  out += '[';
  out += line.machine;
  out += "] ";
  out += line.region;
  out += " [";
  out += line.level;
  out += ']';
  append_harmless(out, line.message);
  out += '\n';
  return out;
}

void LogTail::add(LogLine line) {
  if (on_line_) on_line_(line);
  add_old(std::move(line));
}

void LogTail::add_old(LogLine line) {
  line.sequence = next_sequence_++;
  if (line.message.size() > kMaxLineBytes) line.message.resize(kMaxLineBytes);
  AppLines& app = apps_[line.app];
  app.bytes += cost(line);
  bytes_ += cost(line);
  app.lines.push_back(std::move(line));
  make_room();
}

void LogTail::make_room() {
  while (bytes_ > max_bytes_) {
    const auto biggest =
        std::ranges::max_element(apps_, {}, [](const auto& entry) { return entry.second.bytes; });
    AppLines& app = biggest->second;
    // A quarter at once: with many apps the search is not repeated for each line.
    const std::size_t target = app.bytes - std::max(app.bytes / 4, cost(app.lines.front()));
    while (!app.lines.empty() && app.bytes > target) {
      const std::size_t freed = cost(app.lines.front());
      app.bytes -= freed;
      bytes_ -= freed;
      app.lines.pop_front();
    }
    if (app.lines.empty()) apps_.erase(biggest);
  }
}

void LogTail::add_output(const LogLine& origin, std::string_view bytes) {
  std::string& unfinished = unfinished_[origin.machine];
  while (!bytes.empty()) {
    const std::size_t end = bytes.find('\n');
    const std::size_t room = kMaxLineBytes - unfinished.size();
    const bool is_whole = end != std::string_view::npos && end <= room;
    const std::size_t taken = is_whole ? end : std::min(bytes.size(), room);
    unfinished.append(bytes.substr(0, taken));
    bytes.remove_prefix(taken + (is_whole ? 1 : 0));
    if (!is_whole && unfinished.size() < kMaxLineBytes) return;
    LogLine line = origin;
    line.message = std::exchange(unfinished, {});
    if (line.message.ends_with('\r')) line.message.pop_back();
    add(std::move(line));
  }
}

void LogTail::end_output(const LogLine& origin) {
  const auto found = unfinished_.find(origin.machine);
  if (found == unfinished_.end()) return;
  if (!found->second.empty()) {
    LogLine line = origin;
    line.message = std::move(found->second);
    add(std::move(line));
  }
  unfinished_.erase(origin.machine);
}

// From the newest backwards, so that a query costs what it returns.
void LogTail::find_in(const AppLines& app, const LogQuery& query, std::vector<LogLine>& found) {
  std::size_t count = 0;
  for (auto line = app.lines.rbegin(); line != app.lines.rend() && count < query.most; ++line) {
    if (line->sequence <= query.after) break;
    if (!query.machine.empty() && line->machine != query.machine) continue;
    if (!query.region.empty() && line->region != query.region) continue;
    found.push_back(*line);
    ++count;
  }
}

std::vector<LogLine> LogTail::find(const LogQuery& query) const {
  std::vector<LogLine> found;
  if (query.app.empty()) {
    for (const auto& [name, app] : apps_) find_in(app, query, found);
  } else if (const auto app = apps_.find(query.app); app != apps_.end()) {
    find_in(app->second, query, found);
  }
  std::ranges::sort(found, {}, &LogLine::sequence);
  if (found.size() > query.most) {
    found.erase(found.begin(), found.end() - static_cast<std::ptrdiff_t>(query.most));
  }
  return found;
}

}  // namespace rooster::admin
