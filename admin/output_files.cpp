#include "admin/output_files.hpp"

#include "admin/log_tail.hpp"
#include "core/descriptor.hpp"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <deque>
#include <iterator>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace rooster::admin {

namespace {

constexpr std::size_t kReadBack = 256 * 1024;  // of each file, for last_lines()

// The end of a file, from the first whole line on.
std::string end_of(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat status{};
  if (!file || ::fstat(file.get(), &status) != 0) return {};
  const auto size = static_cast<std::size_t>(status.st_size);
  const std::size_t begin = size > kReadBack ? size - kReadBack : 0;
  std::string text(size - begin, '\0');
  const ssize_t got = ::pread(file.get(), text.data(), text.size(), static_cast<off_t>(begin));
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  if (begin > 0) text.erase(0, std::min(text.find('\n'), text.size() - 1) + 1);
  return text;
}

// What stands before `mark`, which goes too.
std::string_view cut(std::string_view& text, std::string_view mark) {
  const std::size_t end = text.find(mark);
  if (end == std::string_view::npos) return std::exchange(text, {});
  const std::string_view found = text.substr(0, end);
  text.remove_prefix(end + mark.size());
  return found;
}

}  // namespace

LogLine parse_fly_line(std::string_view text) {
  LogLine line;
  line.provider.clear();
  const std::string at(cut(text, " "));
  std::tm parts{};
  const char* end = ::strptime(at.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  const std::string_view provider = cut(text, "[");
  const std::string_view machine = cut(text, "] ");
  const std::string_view region = cut(text, " [");
  if (end == nullptr || text.find(']') == std::string_view::npos) return line;
  line.at = std::chrono::system_clock::from_time_t(::timegm(&parts));
  line.provider = provider;
  line.machine = machine;
  line.region = region;
  line.level = cut(text, "]");
  line.message = text;
  return line;
}

OutputFiles::OutputFiles(std::string folder, Limits limits)
    : folder_(std::move(folder)), limits_(limits) {
  ::mkdir(folder_.c_str(), 0700);  // where it fails, so does every line, and is counted
}

std::string OutputFiles::path_of(const std::string& app) const {
  return folder_ + '/' + app + ".log";
}

void OutputFiles::add(const LogLine& line) {
  const std::string text = format_fly_line(line);
  const std::scoped_lock lock(mutex_);
  if (queued_bytes_ + text.size() > limits_.queued_bytes) {
    dropped_.fetch_add(text.size(), std::memory_order_relaxed);
    return;
  }
  queued_bytes_ += text.size();
  queued_[line.app] += text;
}

bool OutputFiles::drain() {
  std::map<std::string, std::string> taken;
  {
    const std::scoped_lock lock(mutex_);
    taken = std::exchange(queued_, {});
    queued_bytes_ = 0;
  }
  for (const auto& [app, text] : taken) {
    if (!append(app, text)) dropped_.fetch_add(text.size(), std::memory_order_relaxed);
  }
  return !taken.empty();
}

bool OutputFiles::append(const std::string& app, std::string_view text) {
  const std::string path = path_of(app);
  const auto open = [&path] {
    return Descriptor(
        ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  };
  Descriptor file = open();
  struct stat status{};
  if (!file || ::fstat(file.get(), &status) != 0) return false;
  if (status.st_size > 0 &&
      static_cast<std::size_t>(status.st_size) + text.size() > limits_.file_bytes) {
    if (::rename(path.c_str(), (path + ".1").c_str()) != 0) return false;
    file = open();
    status.st_size = 0;
    if (!file) return false;
  }
  if (::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size())) {
    return true;
  }
  // A full disk takes half a line, too: either all stands there or nothing.
  [[maybe_unused]] const int undone = ::ftruncate(file.get(), status.st_size);
  return false;
}

std::vector<LogLine> OutputFiles::last_lines(const std::string& app, std::size_t most) const {
  std::deque<LogLine> found;
  for (const std::string& path : {path_of(app) + ".1", path_of(app)}) {
    const std::string text = end_of(path);
    std::string_view rest = text;
    while (!rest.empty()) {
      LogLine line = parse_fly_line(cut(rest, "\n"));
      if (line.provider.empty()) continue;
      line.app = app;
      found.push_back(std::move(line));
      if (found.size() > most) found.pop_front();
    }
  }
  return {std::make_move_iterator(found.begin()), std::make_move_iterator(found.end())};
}

}  // namespace rooster::admin
