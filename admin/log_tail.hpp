// LogTail: the last lines of every app's output and of ours about it, for `rooster logs`. Bounded
// in all; a chatty app loses its own old lines before it costs another's.
#pragma once

#include "admin/node.hpp"

#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace rooster::admin {

/// `2025-05-27T12:29:13Z app[908027d3be7938] gru [info]message`, as flyctl prints it. Control bytes
/// of the message, colours apart, are replaced: a log can't move the terminal's cursor.
std::string format_fly_line(const LogLine& line);

/// Belongs to one thread (the admin loop's).
class LogTail {
 public:
  static constexpr std::size_t kMaxBytes = 16 * 1024 * 1024;
  static constexpr std::size_t kMaxLineBytes = 8 * 1024;

  explicit LogTail(std::size_t max_bytes = kMaxBytes) : max_bytes_(max_bytes) {}

  /// Is shown every line that comes, in its order.
  void set_on_line(std::function<void(const LogLine&)> on_line) { on_line_ = std::move(on_line); }
  /// Adds one line and gives it its sequence.
  void add(LogLine line);
  /// Lines of an earlier run: as add(), but nobody is shown them.
  void add_old(LogLine line);
  bool has(const std::string& app) const { return apps_.contains(app); }

  /// What a machine wrote: cut into lines; an unfinished one waits for its end, up to
  /// kMaxLineBytes.
  void add_output(const LogLine& origin, std::string_view bytes);
  /// The machine has ended: its unfinished line is a line.
  void end_output(const LogLine& origin);

  /// The newest lines that fit the query, oldest first.
  std::vector<LogLine> find(const LogQuery& query) const;
  std::size_t bytes() const { return bytes_; }

 private:
  struct AppLines {
    std::deque<LogLine> lines;
    std::size_t bytes = 0;
  };
  void make_room();
  static void find_in(const AppLines& app, const LogQuery& query, std::vector<LogLine>& found);

  const std::size_t max_bytes_;
  std::function<void(const LogLine&)> on_line_;
  std::size_t bytes_ = 0;
  std::uint64_t next_sequence_ = 1;
  std::map<std::string, AppLines> apps_;
  std::unordered_map<std::string, std::string> unfinished_;  // by machine
};

}  // namespace rooster::admin
