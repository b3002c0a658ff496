// Where a user's logins and keys lie: $XDG_STATE_HOME/rooster, 0700. Small files, written whole.
#pragma once

#include "core/error.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace rooster::cli {

/// $XDG_STATE_HOME/rooster, else ~/.local/state/rooster. Errors: neither is set.
Result<std::string> state_folder();
/// `folder` and what is missing above it, 0700. Errors: Internal, with the folder.
Result<> make_folder(const std::string& folder);
/// 0600, by another file's name and rename: never half of it. Errors: Internal, with the file.
Result<> write_private(const std::string& file, std::string_view text);
/// A file of at most 64 KiB; nullopt: it is not there, or can't be read.
std::optional<std::string> read_small(const std::string& file);

}  // namespace rooster::cli
