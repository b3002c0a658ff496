#include "cluster/node_key.hpp"

#include "core/base64.hpp"
#include "core/descriptor.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace rooster::cluster {
namespace {

constexpr std::size_t kKeyText = 44;  // 32 bytes in base 64

std::unexpected<Error> wrong(const std::string& file, const std::string& what) {
  return fail(Fault::Internal, file + ": " + what);
}

Result<Key> read_key(const Descriptor& fd, const std::string& file) {
  struct stat status{};
  if (fstat(fd.get(), &status) != 0) return wrong(file, std::strerror(errno));
  if ((status.st_mode & 077U) != 0) {
    return wrong(file,
                 "others can read the node's key; chmod 600 it, or remove it for a new one "
                 "(every peer then needs its public key)");
  }
  std::array<char, kKeyText + 2> text{};
  const ssize_t size = ::read(fd.get(), text.data(), text.size());
  std::string_view line(text.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
  if (line.ends_with('\n')) line.remove_suffix(1);
  const auto bytes = from_base64(line);
  Key key{};
  if (!bytes || bytes->size() != key.size()) {
    return wrong(file,
                 "holds no key as `wg genkey` makes them; remove it for a new one (every "
                 "peer then needs its public key)");
  }
  std::ranges::copy(*bytes, key.begin());
  return key;
}

}  // namespace

Result<Key> open_or_create_key(const std::string& file, const Random& random) {
  const Descriptor old(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (old) return read_key(old, file);
  if (errno != ENOENT) return wrong(file, std::strerror(errno));
  const std::string folder = std::filesystem::path(file).parent_path();
  ::mkdir(folder.c_str(), 0700);  // where it is missing: the open below says what else is wrong
  Key key{};
  random(key);
  // RFC 7748 §5: as every X25519 private key is used.
  key[0] &= 248U;
  key[31] = static_cast<std::uint8_t>((key[31] & 127U) | 64U);
  const std::string text = to_base64(key) + '\n';
  // Complete or not at all: a key that was half written would be refused for ever.
  const std::string unfinished = file + ".new";
  ::unlink(unfinished.c_str());
  {
    const Descriptor made(
        ::open(unfinished.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!made ||
        ::write(made.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
        ::fsync(made.get()) != 0) {
      return wrong(file, std::strerror(errno));
    }
  }
  // Unlike rename, link never replaces a key that somebody made meanwhile.
  const bool is_linked = ::link(unfinished.c_str(), file.c_str()) == 0;
  const int why = errno;
  ::unlink(unfinished.c_str());
  if (!is_linked) return wrong(file, std::strerror(why));
  return key;
}

}  // namespace rooster::cluster
