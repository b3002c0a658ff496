#include "app/reload.hpp"

#include <array>
#include <chrono>
#include <filesystem>

#include <sys/inotify.h>

namespace rooster::app {

namespace {

constexpr auto kSettle = std::chrono::milliseconds(200);  // editors write a file in several steps

std::size_t count_errors(const std::vector<config::Diagnostic>& diagnostics) {
  std::size_t errors = 0;
  for (const config::Diagnostic& diagnostic : diagnostics) {
    if (diagnostic.severity == config::Severity::Error) ++errors;
  }
  return errors;
}

// "file:line:column: key: what; what to write", without the source line.
std::string one_line(const config::Diagnostic& diagnostic) {
  const std::string text = render(diagnostic);
  return text.substr(0, text.find('\n'));
}

}  // namespace

Reload::~Reload() {
  watch_.reset();
}

void Reload::request(Answer<admin::ConfigReport> answer) {
  next_.push_back(std::move(answer));
  if (!is_running_) begin();
}

void Reload::begin() {
  is_running_ = true;
  running_.swap(next_);
  parts_.background.post([this, config = parts_.config] {
    config::LoadResult loaded = config::reload(config);
    std::shared_ptr<const tls::CertificateStore> store;
    if (loaded.set && parts_.certificates.refresh(*loaded.set)) {
      store = parts_.certificates.store();
    }
    parts_.control_loop.post(
        [this, loaded = std::move(loaded), store = std::move(store)]() mutable {
          finish(std::move(loaded), std::move(store));
        });
  });
}

void Reload::finish(config::LoadResult loaded, std::shared_ptr<const tls::CertificateStore> store) {
  admin::ConfigReport report;
  report.ok = loaded.set != nullptr;
  report.diagnostics = std::move(loaded.diagnostics);
  report.needs_restart = std::move(loaded.needs_restart);
  report.apps = parts_.config->apps.size();
  if (!report.ok) {
    const std::size_t errors = count_errors(report.diagnostics);
    last_error_ = std::to_string(errors) + " error" + (errors == 1 ? "" : "s");
    for (const config::Diagnostic& diagnostic : report.diagnostics) {
      if (diagnostic.severity == config::Severity::Error) {
        parts_.log.error("reload: " + one_line(diagnostic));
        if (last_error_.size() < 512) last_error_ += "; " + one_line(diagnostic);
      }
    }
    parts_.log.error("reload without effect: the configuration in use goes on");
    answer_all(report);
    return;
  }
  last_error_.clear();
  const auto before = parts_.config;
  parts_.config = loaded.set;
  report.apps = loaded.set->apps.size();
  for (const std::string& key : report.needs_restart) {
    parts_.log.warn("reload: " + key + " changes only with a restart");
  }
  if (store) parts_.adopt_certificates(store);  // before the routes that need them
  if (loaded.set == before) {
    answer_all(report);
    return;
  }
  parts_.adopt_config(loaded.set);
  watch_if_wanted();
  parts_.control.apply(before, loaded.set, [this, report](std::size_t changed) mutable {
    report.changed = changed;
    parts_.log.info("configuration reloaded", {{"apps", report.apps}, {"changed", changed}});
    answer_all(report);
  });
}

void Reload::answer_all(const admin::ConfigReport& report) {
  for (auto& answer : running_) answer(report);
  running_.clear();
  is_running_ = false;
  if (!next_.empty()) begin();
}

// `watch = true`: changes of rooster.toml and the apps' folder ask for a reload by themselves.
void Reload::watch_if_wanted() {
  const config::NodeConfig& node = parts_.config->node;
  const std::string folder = node.reloadable.watch ? node.reloadable.apps : std::string();
  if (folder == watched_folder_) return;
  watch_.reset();
  inotify_.reset();
  watched_folder_ = folder;
  if (folder.empty()) return;
  inotify_ = Descriptor(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  constexpr std::uint32_t kChanges =
      IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE;
  const std::string node_folder = std::filesystem::path(node.file).parent_path().string();
  if (!inotify_ || inotify_add_watch(inotify_.get(), folder.c_str(), kChanges) < 0 ||
      inotify_add_watch(inotify_.get(), node_folder.c_str(), kChanges) < 0) {
    parts_.log.warn("watch: can't watch " + folder + "; use `rooster reload`");
    inotify_.reset();
    return;
  }
  settle_ = std::make_unique<Timer>(parts_.control_loop, [this] { request([](auto) {}); });
  watch_ = std::make_unique<Watch>(parts_.control_loop, inotify_.get(), [this] {
    alignas(inotify_event) std::array<char, 4096> events;
    while (::read(inotify_.get(), events.data(), events.size()) > 0) {
    }
    settle_->set(Clock::now() + kSettle);
  });
}

}  // namespace rooster::app
