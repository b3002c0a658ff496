#include "cli/state_folder.hpp"

#include "core/descriptor.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace rooster::cli {
namespace {

constexpr std::size_t kMostBytes = 64UL * 1024;

}  // namespace

Result<std::string> state_folder() {
  const char* const state = std::getenv("XDG_STATE_HOME");
  // The specification: a relative path is to be ignored.
  if (state != nullptr && *state == '/') return std::string(state) + "/rooster";
  const char* const home = std::getenv("HOME");
  if (home != nullptr && *home == '/') return std::string(home) + "/.local/state/rooster";
  return fail(Fault::Internal, "no place for logins and keys: set $HOME or $XDG_STATE_HOME");
}

Result<> make_folder(const std::string& folder) {
  if (::mkdir(folder.c_str(), 0700) == 0 || errno == EEXIST) return {};
  if (errno == ENOENT) {
    const std::string above = std::filesystem::path(folder).parent_path();
    if (above.size() < folder.size()) {
      if (auto made = make_folder(above); !made) return made;
      if (::mkdir(folder.c_str(), 0700) == 0 || errno == EEXIST) return {};
    }
  }
  return fail(Fault::Internal, folder + ": " + std::strerror(errno));
}

Result<> write_private(const std::string& file, std::string_view text) {
  const std::string unfinished = file + ".new." + std::to_string(::getpid());
  const Descriptor out(
      ::open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  const bool is_written =
      out && ::write(out.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (is_written && ::rename(unfinished.c_str(), file.c_str()) == 0) return {};
  const int why = errno;
  ::unlink(unfinished.c_str());
  return fail(Fault::Internal, file + ": " + std::strerror(why));
}

std::optional<std::string> read_small(const std::string& file) {
  const Descriptor in(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!in) return std::nullopt;
  std::string text(kMostBytes, '\0');
  const ssize_t size = ::read(in.get(), text.data(), text.size());
  if (size < 0) return std::nullopt;
  text.resize(static_cast<std::size_t>(size));
  return text;
}

}  // namespace rooster::cli
