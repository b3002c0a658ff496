// Small files of the kernel (/proc, cgroups): read whole, written in one piece.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace rooster::keeper {

/// At most `limit` bytes of the file; empty if it can't be read.
std::optional<std::string> read_small_file(const std::string& path, std::size_t limit = 16 * 1024);

/// One write(2) to an existing file; false with errno set.
bool write_small_file(const std::string& path, std::string_view text);

}  // namespace rooster::keeper
