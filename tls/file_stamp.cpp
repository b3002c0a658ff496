#include "tls/file_stamp.hpp"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace rooster::tls {
namespace {

constexpr std::int64_t kMaxFileBytes = 1 << 20;  // a chain has a few kilobytes

std::int64_t nanoseconds(const timespec& time) {
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

std::string mend_for(int error) {
  if (error == ENOENT) return "; check the path";
  if (error == EACCES || error == EPERM) return "; let Rooster's user read it";
  return "";
}

Result<FileText> read_open_file(int descriptor, const std::string& path, const FileStamp& known) {
  struct stat status{};
  if (::fstat(descriptor, &status) != 0) {
    return fail(Fault::Internal, path + ": " + std::strerror(errno));
  }
  if (!S_ISREG(status.st_mode)) return fail(Fault::Internal, path + ": not a regular file");
  if (status.st_size > kMaxFileBytes) {
    return fail(Fault::Internal, path + ": larger than 1 MiB; is it a certificate?");
  }
  FileText file;
  file.stamp = {status.st_dev, status.st_ino, status.st_size, nanoseconds(status.st_mtim),
                nanoseconds(status.st_ctim)};
  file.changed = file.stamp != known;
  if (!file.changed) return file;
  file.text.resize(static_cast<std::size_t>(status.st_size));
  std::size_t done = 0;
  while (done < file.text.size()) {
    const ssize_t got = ::read(descriptor, file.text.data() + done, file.text.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(Fault::Internal, path + ": " + std::strerror(errno));
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  file.text.resize(done);
  return file;
}

}  // namespace

Result<Descriptor> open_file(const std::string& path) {
  Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (descriptor) return descriptor;
  const int error = errno;
  return fail(Fault::Internal, path + ": " + std::strerror(error) + mend_for(error));
}

Result<FileText> read_if_changed(const OpenFile& open, const std::string& path,
                                 const FileStamp& known) {
  const auto descriptor = open(path);
  if (!descriptor) return fail(descriptor.error());
  return read_open_file(descriptor->get(), path, known);
}

}  // namespace rooster::tls
