#include "config/config_set.hpp"

#include "config/parse_node.hpp"
#include "config/scalars.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

namespace rooster::config {
namespace {

// A hundred thousand apps with ten mistakes each would be a million lines to read.
constexpr std::size_t kMaxDiagnostics = 1000;
constexpr std::size_t kMaxApps = 1'000'000;
constexpr std::size_t kMaxAppBytes =
    512UL * 1024 + 1;  // one more than TextBounds: enough to be refused
constexpr std::size_t kMaxNodeBytes = 4UL * 1024 * 1024 + 1;

/// A descriptor that closes itself.
class File {
 public:
  explicit File(int descriptor) : descriptor_(descriptor) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

FileStamp to_stamp(const struct stat& status) {
  constexpr std::int64_t kNano = 1'000'000'000;
  return {.device = status.st_dev,
          .inode = status.st_ino,
          .bytes = status.st_size,
          .modified_nanoseconds = status.st_mtim.tv_sec * kNano + status.st_mtim.tv_nsec,
          .changed_nanoseconds = status.st_ctim.tv_sec * kNano + status.st_ctim.tv_nsec};
}

/// A file changed this recently may change again without another stamp: the kernel's clock ticks
/// each 4 ms or so.
bool is_settled(const struct stat& status) {
  constexpr std::int64_t kTicks = 50'000'000;
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  const auto age =
      (now.tv_sec - status.st_ctim.tv_sec) * 1'000'000'000 + (now.tv_nsec - status.st_ctim.tv_nsec);
  return age < 0 || age > kTicks;
}

struct ReadFile {
  std::string text;
  FileStamp stamp;
};

/// The file and its stamp from before the read, so that a write meanwhile shows at the next reload.
std::optional<ReadFile> read_file(int folder, const char* name, std::size_t most) {
  // Non-blocking: a named pipe in the folder must not hold everything up.
  const File file(openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status{};
  if (file.get() < 0 || fstat(file.get(), &status) != 0) return std::nullopt;
  if (!S_ISREG(status.st_mode)) {
    errno = EINVAL;
    return std::nullopt;
  }
  ReadFile result{.text = {}, .stamp = is_settled(status) ? to_stamp(status) : FileStamp{}};
  result.text.resize(std::min(most, static_cast<std::size_t>(status.st_size)));
  std::size_t filled = 0;
  while (filled < result.text.size()) {
    const ssize_t got = read(file.get(), result.text.data() + filled, result.text.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::nullopt;
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
  }
  result.text.resize(filled);
  return result;
}

Diagnostic whole_file_error(std::string file, std::string message) {
  return {Severity::Error, std::move(file), {}, "", std::move(message), ""};
}

std::string why(int error) {
  return std::strerror(error);
}  // NOLINT: one thread loads

class Loader {
 public:
  Loader(std::shared_ptr<const ConfigSet> previous, LoadOptions options)
      : previous_(std::move(previous)), options_(options), set_(std::make_shared<ConfigSet>()) {}

  LoadResult run(const std::string& node_file) {
    read_node(node_file);
    if (!read_apps()) return finish();
    const bool same = previous_ && !changed_ && previous_->files.size() == set_->files.size();
    if (same) {
      set_ = nullptr;
      return finish();
    }
    sort_apps();
    find_conflicts(*set_, result_.diagnostics);
    return finish();
  }

 private:
  void note(const std::vector<Diagnostic>& some) {
    for (const auto& one : some) {
      // Errors always count; beyond the bound only their number is told.
      if (result_.diagnostics.size() < kMaxDiagnostics) {
        result_.diagnostics.push_back(one);
      } else {
        ++dropped_;
        dropped_error_ |= one.severity == Severity::Error;
      }
    }
  }

  void read_node(const std::string& node_file) {
    auto file = read_file(AT_FDCWD, node_file.c_str(), kMaxNodeBytes);
    if (!file) {
      note({whole_file_error(
          node_file,
          fmt::format("can't be read ({}); check the path and its rights", why(errno)))});
      return guess_node(node_file);
    }
    if (previous_ && file->stamp.inode != 0 && previous_->node_stamp == file->stamp) {
      set_->node = previous_->node;
      set_->node_stamp = previous_->node_stamp;
      set_->node_warnings = previous_->node_warnings;
      note(set_->node_warnings);
      return;
    }
    changed_ = true;
    auto parsed = parse_node(file->text, node_file);
    note(parsed.diagnostics);
    if (!parsed.node) return guess_node(node_file);
    set_->node = std::move(*parsed.node);
    set_->node_stamp = file->stamp;
    set_->node_warnings = std::move(parsed.diagnostics);
    if (previous_) keep_fixed();
  }

  /// Without rooster.toml the apps are looked at all the same: all errors come in one run.
  void guess_node(const std::string& node_file) {
    node_failed_ = true;
    if (previous_) set_->node = previous_->node;
    set_->node.file = node_file;
    if (!previous_) set_->node.reloadable.apps = beside(node_file, "apps");
  }

  /// What needs a restart stays as it is, and is named.
  void keep_fixed() {
    const NodeFixed& was = previous_->node.fixed;
    NodeFixed& now = set_->node.fixed;
    const auto check = [&](bool same, const char* name) {
      if (!same) result_.needs_restart.emplace_back(name);
    };
    check(was.data == now.data, "data");
    check(was.workers == now.workers, "workers");
    check(was.sandbox == now.sandbox, "sandbox");
    check(was.http == now.http, "[listen] http");
    check(was.https == now.https, "[listen] https");
    check(was.admin_socket == now.admin_socket, "[listen] admin");
    check(was.wireguard == now.wireguard, "[wireguard]");
    check(was.network_mode == now.network_mode, "[rooster] network_mode");
    check(was.dns_upstream == now.dns_upstream, "[dns] upstream");
    now = was;
  }

  bool read_apps() {
    const std::string& folder = set_->node.reloadable.apps;
    const File directory(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    auto names = directory.get() < 0 ? std::nullopt : list(directory.get());
    if (!names && node_failed_) return false;
    if (!names) {
      note({whole_file_error(set_->node.file,
                             fmt::format("apps: the folder {} can't be read ({}); make it, or "
                                         "write apps = \"folder\"",
                                         folder, why(errno)))});
      return false;
    }
    if (names->size() > kMaxApps) {
      note({whole_file_error(folder,
                             fmt::format("more than {} files; spread them over nodes", kMaxApps))});
      return false;
    }
    // A region or folder that changed changes the meaning of every file.
    const bool reusable = previous_ && previous_->node.reloadable.apps == folder &&
                          previous_->node.reloadable.region == set_->node.reloadable.region;
    const std::vector<std::shared_ptr<const AppFile>> none;
    const auto& known = reusable ? previous_->files : none;
    changed_ |= previous_ && !reusable;
    set_->files.reserve(names->size());
    auto before = known.begin();
    for (const auto& name : *names) {
      while (before != known.end() && (*before)->name < name) ++before;
      const bool is_known = before != known.end() && (*before)->name == name;
      read_app(directory.get(), folder, name, is_known ? *before : nullptr);
    }
    return true;
  }

  static std::optional<std::vector<std::string>> list(int directory) {
    const int own = fcntl(directory, F_DUPFD_CLOEXEC, 0);
    DIR* const stream = own < 0 ? nullptr : fdopendir(own);
    if (stream == nullptr) {
      if (own >= 0) close(own);
      return std::nullopt;
    }
    std::vector<std::string> names;
    while (const dirent* const entry = readdir(stream)) {
      const std::string_view name = entry->d_name;
      const bool hidden = name.starts_with('.');  // editors leave such files for a moment
      if (!hidden && name.ends_with(".toml") && entry->d_type != DT_DIR) names.emplace_back(name);
    }
    closedir(stream);
    std::ranges::sort(names);
    return names;
  }

  void read_app(int directory, const std::string& folder, const std::string& name,
                const std::shared_ptr<const AppFile>& known) {
    struct stat status{};
    if (known && fstatat(directory, name.c_str(), &status, 0) == 0 &&
        to_stamp(status) == known->stamp) {
      set_->files.push_back(known);
      note(known->warnings);
      return;
    }
    const std::string path = folder + '/' + name;
    const auto file = read_file(directory, name.c_str(), kMaxAppBytes);
    if (!file) {
      if (errno == ENOENT) return;  // gone since it was listed
      note({whole_file_error(
          path, fmt::format("can't be read ({}); check its rights or move it away", why(errno)))});
      return;
    }
    changed_ = true;
    ++result_.parsed_files;
    auto parsed = parse_app(file->text, path, set_->node.reloadable.region);
    note(parsed.diagnostics);
    if (!parsed.app) return;
    auto read = std::make_shared<AppFile>();
    read->name = name;
    read->stamp = file->stamp;
    const bool same = known && *known->app == *parsed.app;
    read->app = same ? known->app : std::make_shared<const AppConfig>(std::move(*parsed.app));
    read->warnings = std::move(parsed.diagnostics);
    read->places = std::move(parsed.places);
    set_->files.push_back(std::move(read));
  }

  void sort_apps() {
    const auto name_of = [](const auto& app) -> const std::string& { return app->name; };
    auto& apps = set_->apps;
    apps.reserve(set_->files.size());
    for (const auto& file : set_->files) apps.push_back(file->app);
    // Files are mostly called after their apps.
    if (!std::ranges::is_sorted(apps, {}, name_of)) std::ranges::sort(apps, {}, name_of);
  }

  LoadResult finish() {
    if (options_.strict) make_strict(result_.diagnostics);
    if (dropped_ > 0) {
      Diagnostic more =
          whole_file_error(set_ ? set_->node.file : previous_->node.file,
                           fmt::format("{} more like these; mend the first ones", dropped_));
      more.severity = dropped_error_ || options_.strict ? Severity::Error : Severity::Warning;
      result_.diagnostics.push_back(std::move(more));
    }
    if (!has_errors(result_.diagnostics)) {
      if (set_) {
        result_.set = std::move(set_);
      } else {
        result_.set = previous_;
      }
    }
    return std::move(result_);
  }

  std::shared_ptr<const ConfigSet> previous_;
  LoadOptions options_;
  std::shared_ptr<ConfigSet> set_;  ///< null: nothing changed
  LoadResult result_;
  std::size_t dropped_ = 0;
  bool dropped_error_ = false;
  bool changed_ = false;
  bool node_failed_ = false;
};

}  // namespace

std::shared_ptr<const AppConfig> ConfigSet::find(std::string_view app) const {
  const auto found = std::ranges::lower_bound(
      apps, app, {}, [](const auto& one) { return std::string_view(one->name); });
  return found != apps.end() && (*found)->name == app ? *found : nullptr;
}

LoadResult load(const std::string& node_file, LoadOptions options) {
  std::error_code failed;
  const auto absolute = std::filesystem::absolute(node_file, failed);
  return Loader(nullptr, options).run(failed ? node_file : absolute.lexically_normal().string());
}

LoadResult reload(const std::shared_ptr<const ConfigSet>& previous, LoadOptions options) {
  return Loader(previous, options).run(previous->node.file);
}

}  // namespace rooster::config
