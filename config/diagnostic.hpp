// Diagnostic: one thing wrong in a configuration file, with its place and its mend.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::config {

/// A place in a file, both from 1. Columns count characters, not bytes.
struct Place {
  std::uint32_t line = 0;
  std::uint32_t column = 0;
  friend auto operator<=>(const Place&, const Place&) = default;
};

enum class Severity : std::uint8_t { Error, Warning };

struct Diagnostic {
  Severity severity = Severity::Error;
  std::string file;
  Place place;          ///< line 0: the file as a whole
  std::string key;      ///< e.g. "services[0].ports[1].port"; empty where there is none
  std::string message;  ///< "what is wrong; what to write"
  std::string source;   ///< the source line, cut at 200 bytes
  friend bool operator==(const Diagnostic&, const Diagnostic&) = default;
};

/// `file:line:column: key: what; what to write`, then the source line and a caret under the place.
std::string render(const Diagnostic& diagnostic);

bool has_errors(const std::vector<Diagnostic>& diagnostics);

/// What `--strict` does: every warning becomes an error.
void make_strict(std::vector<Diagnostic>& diagnostics);

/// Collects what is wrong in one file. At most kMaxPerFile are kept: a hostile file can't flood.
class Report {
 public:
  static constexpr std::size_t kMaxPerFile = 100;

  Report(std::string file, std::string_view text) : file_(std::move(file)), text_(text) {}

  void error(Place place, std::string key, std::string message);
  void warn(Place place, std::string key, std::string message);
  const std::string& file() const { return file_; }
  bool failed() const { return failed_; }
  /// In the order of their places.
  std::vector<Diagnostic> take();

 private:
  void add(Severity severity, Place place, std::string key, std::string message);

  std::string file_;
  std::string_view text_;
  std::vector<Diagnostic> found_;
  std::size_t dropped_ = 0;
  bool failed_ = false;
};

}  // namespace rooster::config
