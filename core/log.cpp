#include "core/log.hpp"

#include "core/json_text.hpp"
#include "core/log_thread.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>

namespace rooster {
namespace {

// A line of ours is never longer, however long the error text of a library is.
constexpr std::size_t kMaxLineBytes = 8 * 1024;

// Left bare in the human format; anything else is quoted, so that a value can't look like another
// field.
bool is_bare(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return c > ' ' && c < 0x7F && c != '"' && c != '=' && c != '\\';
  });
}

bool is_printable(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= ' ' && c < 0x7F; });
}

std::string human_line(WallTime at, LogLevel level, std::string_view message, LogFields fields) {
  std::string line = format_time(at);
  line += fmt::format(" {:<5} ", name_of(level));
  if (is_printable(message)) {
    line += message;
  } else {
    append_json_string(line, message);
  }
  for (const LogField& field : fields) {
    line += ' ';
    line += field.name;
    line += '=';
    if (field.is_number) {
      line += std::to_string(field.number);
    } else if (is_bare(field.text)) {
      line += field.text;
    } else {
      append_json_string(line, field.text);
    }
  }
  return line;
}

std::string json_line(WallTime at, LogLevel level, std::string_view message, LogFields fields) {
  std::string line;
  JsonWriter json(line);
  json.begin_object();
  json.field("time", format_time(at)).field("level", name_of(level)).field("message", message);
  for (const LogField& field : fields) {
    json.key(field.name);
    field.is_number ? json.value(field.number) : json.value(field.text);
  }
  json.end_object();
  return line;
}

}  // namespace

std::string_view name_of(LogLevel level) {
  constexpr std::array<std::string_view, 4> kNames{"debug", "info", "warn", "error"};
  return kNames[static_cast<std::size_t>(level)];
}

void append_time(std::string& out, WallTime at) {
  const auto days = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::year_month_day date(days);
  auto left = std::chrono::floor<std::chrono::milliseconds>(at - days).count();
  const auto put = [&out](std::int64_t number, std::int64_t highest_place) {
    for (auto place = highest_place; place > 0; place /= 10) {
      out += static_cast<char>('0' + number / place % 10);
    }
  };
  put(int{date.year()}, 1000);
  out += '-';
  put(unsigned{date.month()}, 10);
  out += '-';
  put(unsigned{date.day()}, 10);
  out += 'T';
  put(left / 3'600'000, 10);
  out += ':';
  put(left / 60'000 % 60, 10);
  out += ':';
  put(left / 1000 % 60, 10);
  out += '.';
  put(left % 1000, 100);
  out += 'Z';
}

std::string format_time(WallTime at) {
  std::string text;
  append_time(text, at);
  return text;
}

std::string format_log_line(LogFormat format, WallTime at, LogLevel level, std::string_view message,
                            LogFields fields) {
  message = message.substr(0, kMaxLineBytes);
  return format == LogFormat::Json ? json_line(at, level, message, fields)
                                   : human_line(at, level, message, fields);
}

void Log::write(LogLevel level, std::string_view message, LogFields fields) {
  if (level < options_.level) return;
  std::string line =
      format_log_line(options_.format, std::chrono::system_clock::now(), level, message, fields);
  line += '\n';
  const std::scoped_lock lock(mutex_);
  if (queued_bytes_ + line.size() > kMaxQueuedBytes) {
    dropped_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  queued_bytes_ += line.size();
  lines_.push_back(std::move(line));
}

bool Log::drain() {
  if (pending_.empty()) {
    std::deque<std::string> lines;
    {
      const std::scoped_lock lock(mutex_);
      lines.swap(lines_);
      queued_bytes_ = 0;
    }
    for (const std::string& line : lines) pending_ += line;
    if (const std::uint64_t dropped = dropped_.load(std::memory_order_relaxed);
        dropped != dropped_told_) {
      pending_ += format_log_line(options_.format, std::chrono::system_clock::now(), LogLevel::Warn,
                                  "log lines were dropped", {{"dropped", dropped - dropped_told_}});
      pending_ += '\n';
      dropped_told_ = dropped;
    }
  }
  bool wrote = false;
  while (pending_done_ < pending_.size()) {
    const auto rest = std::string_view(pending_).substr(pending_done_);
    const std::int64_t n = write_without_blocking(options_.descriptor, rest);
    if (n <= 0) return wrote;  // what is pending stays; new lines queue up to their bound
    pending_done_ += static_cast<std::size_t>(n);
    wrote = true;
  }
  pending_.clear();
  pending_done_ = 0;
  return wrote;
}

}  // namespace rooster
