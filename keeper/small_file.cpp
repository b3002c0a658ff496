#include "keeper/small_file.hpp"

#include "core/descriptor.hpp"

#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

namespace rooster::keeper {

std::optional<std::string> read_small_file(const std::string& path, std::size_t limit) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return std::nullopt;
  std::string text;
  constexpr std::size_t kStep = 4096;
  while (text.size() < limit) {
    const std::size_t had = text.size();
    text.resize(had + std::min(kStep, limit - had));
    const ssize_t n = ::read(file.get(), text.data() + had, text.size() - had);
    if (n < 0 && errno != EINTR) return std::nullopt;
    text.resize(had + static_cast<std::size_t>(n < 0 ? 0 : n));
    if (n == 0) break;
  }
  return text;
}

bool write_small_file(const std::string& path, std::string_view text) {
  const Descriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return file && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

}  // namespace rooster::keeper
