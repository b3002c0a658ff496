// A command line into its words, as a POSIX shell would without any expansion. Pure.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::config {

/// Words by blanks; '…' verbatim, "…" with \" \\ \$ \` escapes, \c outside quotes (POSIX Shell
/// §2.2). Errors: a quote without its end, or a lone backslash at the end.
std::expected<std::vector<std::string>, std::string> split_command(std::string_view command);

/// The words as one line that split_command gives back.
std::string join_command(const std::vector<std::string>& words);

}  // namespace rooster::config
