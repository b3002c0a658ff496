// What the tests of cluster share.
#pragma once

#include "cluster/address_book.hpp"
#include "cluster/embedded_registry.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <string>

#include <stdlib.h>

namespace rooster::cluster {

inline const WallTime kStart{std::chrono::seconds(1'700'000'000)};

/// Bytes that are never the same in one test, and the same in each run.
inline Random counting_random() {
  return [state = std::uint64_t{1}](std::span<std::uint8_t> bytes) mutable {
    for (auto& byte : bytes) {
      state = state * 6364136223846793005U + 1442695040888963407U;
      byte = static_cast<std::uint8_t>(state >> 56U);
    }
  };
}

inline Key key_of(std::uint8_t n) {
  Key key{};
  key.fill(n);
  return key;
}

class Folder {
 public:
  Folder() { EXPECT_NE(mkdtemp(path_.data()), nullptr); }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string file(const std::string& name) const { return path_ + '/' + name; }

 private:
  std::string path_ = testing::TempDir() + "rooster-cluster-XXXXXX";
};

}  // namespace rooster::cluster
