// What the tests of config/ share.
#pragma once

#include "config/parse_app.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::config {

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::string all_rendered(const std::vector<Diagnostic>& diagnostics) {
  std::string out;
  for (const auto& one : diagnostics) out += render(one) + '\n';
  return out;
}

/// The app of a text that must load, whatever it warns of.
inline AppConfig app_of(std::string_view text, std::vector<std::string>* warnings = nullptr) {
  auto parsed = parse_app(text, "/srv/apps/hello.toml", "gru");
  EXPECT_TRUE(parsed.app) << all_rendered(parsed.diagnostics);
  if (warnings != nullptr) {
    for (const auto& one : parsed.diagnostics) warnings->push_back(one.key + ": " + one.message);
  }
  return parsed.app ? std::move(*parsed.app) : AppConfig{};
}

/// A folder that goes with the test.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "rooster-config-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }
  void write(const std::string& name, std::string_view text) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << text;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace rooster::config
