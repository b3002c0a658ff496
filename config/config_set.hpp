// ConfigSet: rooster.toml and every app beside it, as one immutable value. Loading is all or
// nothing and belongs on the background thread: it reads files and takes seconds for 100 000 of
// them; a reload with nothing changed only asks for their stamps.
//
//   1 stamp     list the folder, fstatat each file                  config_set.cpp
//   2 parse     only what is new or has another stamp               config_set.cpp
//   3 conflicts names and routes that two apps claim                conflicts.cpp
//   4 the new set, or the diagnostics and the old one stays
#pragma once

#include "config/app_config.hpp"
#include "config/diagnostic.hpp"
#include "config/node_config.hpp"
#include "config/parse_app.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::config {

/// Changes whenever a file's content may have.
struct FileStamp {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::int64_t bytes = 0;
  std::int64_t modified_nanoseconds = 0;
  std::int64_t changed_nanoseconds = 0;
  friend bool operator==(const FileStamp&, const FileStamp&) = default;
};

/// One apps/*.toml as it was read.
struct AppFile {
  std::string name;  ///< within the folder
  FileStamp stamp;
  std::shared_ptr<const AppConfig> app;
  std::vector<Diagnostic> warnings;
  NamePlaces places;
};

struct ConfigSet {
  NodeConfig node;
  FileStamp node_stamp;
  std::vector<Diagnostic> node_warnings;
  std::vector<std::shared_ptr<const AppFile>> files;   ///< by file name
  std::vector<std::shared_ptr<const AppConfig>> apps;  ///< by app name; unique

  /// nullptr: no app of this name.
  std::shared_ptr<const AppConfig> find(std::string_view app) const;
};

struct LoadOptions {
  bool strict = false;  ///< warnings are errors
};

struct LoadResult {
  /// Absent if there is an error. The previous set itself if nothing changed.
  std::shared_ptr<const ConfigSet> set;
  std::vector<Diagnostic> diagnostics;  ///< of all files, also of those not reread
  std::size_t parsed_files = 0;
  /// What a reload saw in rooster.toml that only a restart can change ("workers", "[listen] http"
  /// …); set->node keeps the old values of these.
  std::vector<std::string> needs_restart;
};

/// Reads `node_file` and its folder of apps (`*.toml`, no hidden files). A missing folder is an
/// error.
LoadResult load(const std::string& node_file, LoadOptions options = {});

/// The same, against what is already in use: unchanged apps keep their very object, also when their
/// file was touched but says the same.
LoadResult reload(const std::shared_ptr<const ConfigSet>& previous, LoadOptions options = {});

enum class ChangeKind : std::uint8_t {
  Added,
  Removed,
  Settings,  ///< routes, limits, checks, counts: running machines stay as they are
  Replace,   ///< command, environment, directory, user …: machines are stale
};

struct Change {
  ChangeKind kind;
  std::shared_ptr<const AppConfig> before;  ///< nullptr: Added
  std::shared_ptr<const AppConfig> after;   ///< nullptr: Removed
};

/// By app name. Unchanged apps don't occur; costs one walk over both lists.
std::vector<Change> changes(const ConfigSet& before, const ConfigSet& after);

/// Does a machine that was started under `before` have to be replaced to run under `after`?
bool needs_replacement(const AppConfig& before, const AppConfig& after);

/// Names and routes that two apps of the set claim, each with both places; appended to
/// `diagnostics`.
void find_conflicts(const ConfigSet& set, std::vector<Diagnostic>& diagnostics);

}  // namespace rooster::config
