// A home of its own for a test: logins and keys of nobody else.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include <stdlib.h>

namespace rooster::cli::testing {

class Home {
 public:
  Home() {
    EXPECT_NE(mkdtemp(path_.data()), nullptr);
    const char* const before = std::getenv("XDG_STATE_HOME");
    before_ = before == nullptr ? "" : before;
    setenv("XDG_STATE_HOME", path_.c_str(), 1);
  }
  ~Home() {
    if (before_.empty()) {
      unsetenv("XDG_STATE_HOME");
    } else {
      setenv("XDG_STATE_HOME", before_.c_str(), 1);
    }
    std::filesystem::remove_all(path_);
  }
  Home(const Home&) = delete;
  Home& operator=(const Home&) = delete;
  const std::string& path() const { return path_; }
  std::string state() const { return path_ + "/rooster"; }

 private:
  std::string path_ = (std::filesystem::temp_directory_path() / "rooster-home-XXXXXX").string();
  std::string before_;
};

}  // namespace rooster::cli::testing
