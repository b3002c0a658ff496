// How a Diagnostic reads on a terminal, and the bounded collection of them.
#include "config/diagnostic.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

namespace rooster::config {
namespace {

constexpr std::size_t kMaxSourceBytes = 200;  // a longer line would hide the caret

std::string_view line_at(std::string_view text, std::uint32_t line) {
  for (std::uint32_t at = 1; at < line; ++at) {
    const auto end = text.find('\n');
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
  text = text.substr(0, text.find('\n'));
  if (text.ends_with('\r')) text.remove_suffix(1);
  return text;
}

bool is_continuation(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80U;
}

std::string cut_line(std::string_view line) {
  if (line.size() <= kMaxSourceBytes) return std::string(line);
  std::size_t end = kMaxSourceBytes;
  while (end > 0 && is_continuation(line[end])) --end;
  return std::string(line.substr(0, end));
}

}  // namespace

std::string render(const Diagnostic& diagnostic) {
  std::string out = diagnostic.file;
  if (diagnostic.place.line > 0) {
    out += fmt::format(":{}:{}", diagnostic.place.line, diagnostic.place.column);
  }
  out += ": ";
  if (diagnostic.severity == Severity::Warning) out += "warning: ";
  if (!diagnostic.key.empty()) out += diagnostic.key + ": ";
  out += diagnostic.message;
  if (diagnostic.place.line == 0 || diagnostic.source.empty()) return out;
  out += "\n  " + diagnostic.source + "\n  ";
  // The caret's lead copies tabs, so that it stands right whatever a tab's width is.
  std::uint32_t column = 1;
  for (const char byte : diagnostic.source) {
    if (column >= diagnostic.place.column) break;
    if (is_continuation(byte)) continue;
    out += byte == '\t' ? '\t' : ' ';
    ++column;
  }
  return out + '^';
}

bool has_errors(const std::vector<Diagnostic>& diagnostics) {
  return std::ranges::any_of(diagnostics,
                             [](const auto& one) { return one.severity == Severity::Error; });
}

void make_strict(std::vector<Diagnostic>& diagnostics) {
  for (auto& one : diagnostics) one.severity = Severity::Error;
}

void Report::error(Place place, std::string key, std::string message) {
  failed_ = true;
  add(Severity::Error, place, std::move(key), std::move(message));
}

void Report::warn(Place place, std::string key, std::string message) {
  add(Severity::Warning, place, std::move(key), std::move(message));
}

void Report::add(Severity severity, Place place, std::string key, std::string message) {
  if (found_.size() >= kMaxPerFile) {
    ++dropped_;
    return;
  }
  found_.push_back({severity, file_, place, std::move(key), std::move(message),
                    place.line > 0 ? cut_line(line_at(text_, place.line)) : std::string()});
}

std::vector<Diagnostic> Report::take() {
  std::ranges::sort(found_, {}, [](const auto& one) { return std::tie(one.place, one.key); });
  if (dropped_ > 0) {
    found_.push_back({failed_ ? Severity::Error : Severity::Warning,
                      file_,
                      {},
                      "",
                      fmt::format("{} more like these; mend the first ones", dropped_),
                      ""});
  }
  return std::move(found_);
}

}  // namespace rooster::config
