#include "proxy/static_file.hpp"

#include "core/limits.hpp"
#include "proxy/static_path.hpp"
#include "proxy/worker_context.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <utility>

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

namespace rooster::proxy {
namespace {

std::string http_time(std::int64_t seconds) {
  std::tm parts{};
  const std::time_t time = seconds;
  ::gmtime_r(&time, &parts);
  char text[40];
  return {text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts)};
}

Descriptor open_beneath(const std::string& directory, const std::string& path) {
  const Descriptor root(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) return {};
  open_how how{};
  how.flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;  // O_NONBLOCK: a FIFO opens at once
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return Descriptor(
      static_cast<int>(::syscall(SYS_openat2, root.get(), path.c_str(), &how, sizeof how)));
}

// All of a small file; false: it has changed its size meanwhile.
bool read_whole(int fd, std::string& content) {
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t got =
        ::pread(fd, content.data() + done, content.size() - done, static_cast<off_t>(done));
    if (got <= 0) return false;
    done += static_cast<std::size_t>(got);
  }
  return true;
}

struct Outcome {
  Waiter* waiter;  // null once nobody waits any more; only the worker's thread looks at it
  bool done = false;
};

}  // namespace

StaticFilePtr open_static(const std::string& directory, const std::string& path) {
  Descriptor fd = open_beneath(directory, path);
  struct stat status{};
  if (!fd || ::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode)) return nullptr;
  auto file = std::make_shared<StaticFile>();
  file->size = static_cast<std::uint64_t>(status.st_size);
  file->modified = status.st_mtim.tv_sec;
  file->etag =
      fmt::format("\"{:x}-{:x}-{:x}\"", status.st_mtim.tv_sec, status.st_mtim.tv_nsec, file->size);
  file->last_modified = http_time(file->modified);
  file->type = content_type_of(path);
  if (file->size <= limits::kStaticKeptBytes) {
    file->content.resize(static_cast<std::size_t>(file->size));
    if (!read_whole(fd.get(), file->content)) return nullptr;
  } else {
    file->fd = std::move(fd);
  }
  return file;
}

const StaticFiles::Known* StaticFiles::find(const std::string& key, TimePoint now) const {
  const auto found = known_.find(key);
  if (found == known_.end() || now - found->second.seen > limits::kStaticLookAgain) return nullptr;
  return &found->second;
}

void StaticFiles::put(std::string key, StaticFilePtr file, TimePoint now) {
  if (known_.size() >= limits::kStaticFiles && !known_.contains(key)) {
    known_.erase(
        std::ranges::min_element(known_, {}, [](const auto& entry) { return entry.second.seen; }));
  }
  known_.insert_or_assign(std::move(key), Known{std::move(file), now});
}

Task<> in_background(WorkerContext& context, Waiter& waiter, std::move_only_function<void()> work) {
  const auto outcome = std::make_shared<Outcome>(Outcome{&waiter});
  context.background([outcome, &loop = context.loop, work = std::move(work)]() mutable {
    work();
    loop.post([outcome] {
      outcome->done = true;
      if (outcome->waiter != nullptr) outcome->waiter->notify();
    });
  });
  const TimePoint deadline = context.loop.now() + limits::kStaticTimeout;
  while (!outcome->done) {
    const Woke woke = co_await waiter.wait(deadline);
    if (outcome->done || (woke != Woke::Interrupted && woke != Woke::Deadline)) continue;
    outcome->waiter = nullptr;
    if (woke == Woke::Interrupted) co_return Error(waiter.interrupted_by());
    co_return Error(Fault::UpstreamTimeout);
  }
  co_return {};
}

Task<StaticFilePtr> find_static(WorkerContext& context, Waiter& waiter, std::string directory,
                                std::string path) {
  std::string key = fmt::format("{}\n{}", directory, path);
  if (const auto* const known = context.statics.find(key, context.loop.now())) {
    co_return known->file;
  }
  const auto found = std::make_shared<StaticFilePtr>();
  auto looked = co_await in_background(
      context, waiter, [found, directory = std::move(directory), path = std::move(path)] {
        *found = open_static(directory, path);
      });
  if (!looked) co_return looked.error();
  context.statics.put(std::move(key), *found, context.loop.now());
  co_return *found;
}

std::size_t read_without_waiting(const StaticFile& file, std::uint64_t offset,
                                 std::span<char> into) {
  const iovec piece{into.data(), into.size()};
  const ssize_t got = ::preadv2(file.fd.get(), &piece, 1, static_cast<off_t>(offset), RWF_NOWAIT);
  return got > 0 ? static_cast<std::size_t>(got) : 0;
}

}  // namespace rooster::proxy
