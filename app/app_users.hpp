// AppUsers: the user of each app where Rooster is root and the app's file names none: a number of
// its own, given once and kept in <data>/app-users, so that no app can touch another's processes or
// files.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace rooster::app {

class AppUsers {
 public:
  static constexpr std::uint32_t kFirst = 200'000;

  /// `file` is read now; without root nothing is ever given.
  AppUsers(std::string file, bool is_root);

  /// The app's number; a new one is appended to the file, once per app of this node's life.
  std::optional<std::uint32_t> uid_for(const std::string& app);

 private:
  std::string file_;
  bool is_root_;
  std::map<std::string, std::uint32_t> uids_;
  std::uint32_t next_ = kFirst;
};

}  // namespace rooster::app
