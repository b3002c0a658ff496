#include "app/app_users.hpp"

#include "core/descriptor.hpp"

#include <algorithm>
#include <fstream>

#include <fcntl.h>
#include <unistd.h>

namespace rooster::app {

AppUsers::AppUsers(std::string file, bool is_root) : file_(std::move(file)), is_root_(is_root) {
  std::ifstream in(file_);
  std::string name;
  std::uint32_t uid = 0;
  while (in >> name >> uid) {
    uids_[name] = uid;
    next_ = std::max(next_, uid + 1);
  }
}

std::optional<std::uint32_t> AppUsers::uid_for(const std::string& app) {
  if (!is_root_) return std::nullopt;
  const auto [entry, is_new] = uids_.try_emplace(app, next_);
  if (is_new) {
    ++next_;
    // One short append to the page cache, once in an app's life.
    const Descriptor out(::open(file_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
    const std::string line = app + " " + std::to_string(entry->second) + "\n";
    if (out) (void)!::write(out.get(), line.data(), line.size());
  }
  return entry->second;
}

}  // namespace rooster::app
